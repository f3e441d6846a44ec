import { tmpdir } from 'node:os'
import { redactUrls } from '../../src/base/secrets.ts'
import { runProgram } from '../../src/cli/program.ts'
import { canary, onlyInUrls } from './config-target.ts'
import { type FuzzTarget, mustHold } from './fuzz-target.ts'
import { mutateText, oddText, pick } from './mutation.ts'

const words = [
  'init',
  'check',
  'run',
  'status',
  'checkpoints',
  'dead-letters',
  'list',
  'show',
  'retry',
  'discard',
  'replay',
  'rewind',
  'retention',
  'mark',
  'unmark',
  'help',
  '--help',
  '-h',
  '--version',
  '-V',
  '--json',
  '--dry-run',
  '--accept-gap',
  '--limit',
  '5',
  '--limit=0',
  '-c',
  '--config',
  '--config=/',
  'no.yaml',
  '--set',
  '--set=',
  'source.slot=a',
  `source.url=postgres://u:${canary}@h/d`,
  '--slot',
  '--slot=',
  '--table',
  'public.outbox',
  '--log-level',
  'debug',
  '--',
  '-',
  '',
  '--all',
  '--from',
  '0/0',
  '--to',
  '--where',
  'a=b',
  '__proto__',
  '--__proto__',
  '--constructor=1',
  `--password=${canary}`,
  `amqp://u:${canary}@h`,
  '@x',
] as const

export const commandLineTarget: FuzzTarget = {
  name: 'command-line',
  about: 'arguments of the program, in an environment in which no command can begin its work',
  weight: 2,
  start: () => ({
    async runCase(random, log) {
      const args = Array.from({ length: random.between(0, 6) }, () => {
        const word = pick(random, words)
        return random.chance(0.2) ? mutateText(random, word) : random.chance(0.05) ? oddText(random, 10) : word
      })
      log.input(JSON.stringify(args))
      let out = ''
      let err = ''
      const code = await runProgram(args, {
        // Whatever the arguments say, this is refused before anything is done.
        env: { WAL2RABBIT_NO_SUCH_KEY: '1' },
        cwd: tmpdir(),
        stdout: { write: (text) => (out += text) },
        stderr: { write: (text) => (err += text) },
        scrub: redactUrls,
        log: undefined,
        tune: () => undefined,
      })
      mustHold(code === 0 || code === 2, () => `exit code ${code}: ${err}`)
      mustHold(!/^\s+at .+:\d+:\d+/m.test(err), () => `a stack: ${err}`)
      if (args.every(isKnownSecret)) {
        mustHold(!(out + err).includes(canary), () => `a password: ${err}`)
      }
      if (code === 0) {
        mustHold(out !== '', 'exit code 0, and nothing printed')
        return log.accept()
      }
      const [, refusal] = /^error ([A-Z_]+): \S[\s\S]*\nremedy: \S/m.exec(err) ?? []
      mustHold(refusal !== undefined, () => `no error and remedy: ${err}`)
      log.refuse(refusal)
    },
  }),
}

/** Holds no password, or one that can be told: in a url, or as a flag of its own and not as the value of the one before. */
function isKnownSecret(arg: string, index: number, args: readonly string[]): boolean {
  if (onlyInUrls(arg)) return true
  return arg === `--password=${canary}` && args[index - 1]?.startsWith('-') !== true
}
