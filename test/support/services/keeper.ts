import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { say } from './say.ts'

const script = fileURLToPath(new URL('./keeper.sh', import.meta.url))
const run = promisify(execFile)

/** A process of a service carries its folder in this variable, see keeper.sh. */
export const folderVariable = 'WAL2RABBIT_KEEPER_FOLDER'

let watcher: ChildProcess | undefined

/**
 * From now on the folder and the processes that belong to it do not outlive this process, not even a `kill -9` of it:
 * a small shell in a session of its own holds the other end of a pipe and cleans up when it closes.
 */
export function watchOver(folder: string): void {
  watcher ??= startWatcher()
  watcher.stdin?.write(`${folder}\n`)
}

function startWatcher(): ChildProcess {
  const child = spawn('/bin/sh', [script, 'watch'], { detached: true, cwd: '/', stdio: ['pipe', 'ignore', 'ignore'] })
  const lost = (error: unknown): void => say(`the watchdog is gone, a killed run may leave processes behind: ${error}`)
  child.on('error', lost)
  child.stdin?.on('error', lost)
  child.unref()
  if (child.stdin instanceof Socket) child.stdin.unref()
  return child
}

/** SIGKILL for every process of the folder; resolves when none is left. */
export async function killProcessesOf(folder: string): Promise<void> {
  await run('/bin/sh', [script, 'kill', folder], { cwd: '/' })
}

/** Kills, then removes the folder. */
export async function removeService(folder: string): Promise<void> {
  await run('/bin/sh', [script, 'remove', folder], { cwd: '/' })
}

/** One signal, `STOP` or `CONT`, for every process of the folder. */
export async function signalProcessesOf(folder: string, signal: 'STOP' | 'CONT'): Promise<void> {
  await run('/bin/sh', [script, 'signal', signal, folder], { cwd: '/' })
}
