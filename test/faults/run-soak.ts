import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Rig } from './rig/rig.ts'
import { Servers } from './rig/servers.ts'
import { type SoakResult, soak } from './soak/soak.ts'

export interface SoakRun {
  readonly duration_ms: number
  readonly seed: number
  readonly markdownFile: string | undefined
  /** Of the command line, to be named in the page. */
  readonly args: readonly string[]
  readonly say: (line: string) => void
  readonly print: (text: string) => void
}

/** Runs the soak and prints its totals; resolves with the exit code. */
export async function runSoak({ duration_ms, seed, markdownFile, args, say, print }: SoakRun): Promise<number> {
  say(`soak with seed ${seed}`)
  const servers = new Servers()
  const rig = new Rig(servers, say)
  try {
    const result = await soak(rig, seed, duration_ms)
    const command = `npm run faults -- ${args.join(' ')}`
    const facts = `\`${command}\`, seed ${seed}, ${servers.versions}, Node ${process.versions.node}`
    const page = soakPage(result, facts)
    print(page)
    if (markdownFile !== undefined) await writeFile(markdownFile, page)
    if (result.figures.violations.length > 0) await keepLogs(rig, seed, say)
    return result.figures.violations.length === 0 ? 0 : 1
  } catch (error) {
    say(error instanceof Error ? (error.stack ?? error.message) : String(error))
    await keepLogs(rig, seed, say)
    return 1
  } finally {
    await rig.cleanUp()
    await servers.dispose()
  }
}

async function keepLogs({ scenes }: Rig, seed: number, say: (line: string) => void): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), `wal2rabbit-soak-${seed}-`))
  for (const { bridges } of scenes) {
    for (const { name, log } of bridges) await writeFile(join(folder, `${name.replace(' ', '-')}.log`), log)
  }
  say(`FAILED with seed ${seed}; logs are in ${folder}`)
}

function soakPage({ figures, counts, deadLetters, seconds }: SoakResult, facts: string): string {
  const { runs, events, lost, outOfOrder, repeated, recovery_ms, violations } = figures
  const number = (value: number) => value.toLocaleString('en-US')
  return `# Soak

Random faults on all sides at once, with two bridges on one slot, under load: ${facts}.

| minutes | faults | events | lost | out of order | repeated | dead letters | longest recovery | result |
|---:|---:|---:|---:|---:|---:|---:|---:|---|
| ${(seconds / 60).toFixed(1)} | ${number(runs)} | ${number(events)} | ${number(lost)} | ${number(outOfOrder)} | ${number(repeated)} | ${number(deadLetters)} | ${((recovery_ms ?? 0) / 1000).toFixed(1)} s | ${violations.length === 0 ? 'passed' : 'FAILED'} |
${violations.map(({ invariant, what }) => `\n- ${invariant}: ${what}`).join('')}

| fault | times |
|---|---:|
${[...counts]
  .toSorted()
  .map(([name, count]) => `| ${name} | ${count} |`)
  .join('\n')}
`
}
