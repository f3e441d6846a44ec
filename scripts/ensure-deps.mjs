import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runOrExit } from './run-child.mjs'

const needed = [20, 19]

/** Makes a fresh checkout ready: Node's version, `npm ci` when packages are missing or others, a build when src is newer. */
export async function ensureReady() {
  process.chdir(fileURLToPath(new URL('..', import.meta.url)))
  checkNode()
  if (!packagesAreInstalled()) {
    console.error('installing packages: npm ci')
    await runOrExit('npm', ['ci', '--no-audit', '--no-fund'])
  }
  if (!buildIsFresh()) {
    console.error('building: npm run build')
    await runOrExit('npm', ['run', '--silent', 'build'])
    mkdirSync('.cache', { recursive: true })
    writeFileSync(stamp, '')
  }
}

const stamp = join('.cache', 'built')

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > needed[0] || (major === needed[0] && minor >= needed[1])) return
  console.error(`wal2rabbit needs Node.js ${needed.join('.')} or newer, this is ${process.versions.node}`)
  process.exit(1)
}

/** npm notes what it installed in node_modules/.package-lock.json; packages for other platforms are left out there. */
function packagesAreInstalled() {
  const noted = join('node_modules', '.package-lock.json')
  if (!existsSync(noted)) return false
  const wanted = packagesOf('package-lock.json')
  const installed = packagesOf(noted)
  return Object.entries(wanted).every(
    ([path, { version, optional }]) =>
      path === '' || (installed[path] ? installed[path].version === version : optional),
  )
}

function packagesOf(file) {
  return JSON.parse(readFileSync(file, 'utf8')).packages
}

function buildIsFresh() {
  if (!existsSync('dist') || !existsSync(stamp)) return false
  const built = statSync(stamp).mtimeMs
  const inputs = ['tsconfig.json', 'tsconfig.build.json', 'package-lock.json', ...filesBelow('src')]
  return inputs.every((file) => statSync(file).mtimeMs < built)
}

/** Folders too: their time changes when a file is removed. */
function filesBelow(folder) {
  return [folder, ...readdirSync(folder, { recursive: true }).map((name) => join(folder, name))]
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await ensureReady()
