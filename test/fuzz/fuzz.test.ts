import { expect, test } from 'vitest'
import { FuzzFailure, runFuzz } from './run-fuzz.ts'
import { fuzzTargets } from './targets.ts'

// A small part of `npm run fuzz`, always the same one.
const seed = 1
const inputs: Readonly<Record<string, number>> = {
  pgoutput: 12_000,
  'wal-frames': 300,
  wal2json: 5_000,
  rows: 5_000,
  'amqp-answers': 8_000,
  configuration: 300,
  'command-line': 400,
  http: 100,
}

test.each(fuzzTargets)(
  '$name: whatever comes in, the process lives and no position advances',
  async (target) => {
    const wanted = inputs[target.name] ?? 0
    const result = await runFuzz(target, { seed, inputs: wanted })
    expect(result.inputs).toBeGreaterThanOrEqual(wanted)
    // Not all bad and not all good: else the inputs would look at one side of the code only.
    expect(result.accepted).toBeGreaterThan(0)
    expect(result.refused.size).toBeGreaterThan(0)
  },
  30_000,
)

test('a case that goes wrong is reported with its seed, its number and its input, and can be run alone', async () => {
  const target = {
    name: 'sample',
    about: '',
    weight: 1,
    start: () => ({
      runCase: (random: { between(low: number, high: number): number }, log: { input(bytes: Buffer): void }) => {
        const byte = random.between(0, 255)
        log.input(Buffer.of(byte))
        if (byte > 200) throw new Error(`${byte} is too much`)
      },
    }),
  }
  const failed = await runFuzz(target, { seed: 7, inputs: 1000 }).catch((error: unknown) => error)
  if (!(failed instanceof FuzzFailure)) throw new Error('the case was not found')
  const [, number, byte] = /case (\d+): Error: (\d+) is too much/.exec(failed.message) ?? []
  expect(failed.message).toContain(`npm run fuzz -- --target sample --seed 7 --case ${number}`)
  expect(failed.message).toContain(Buffer.of(Number(byte)).toString('hex'))
  const again = await runFuzz(target, { seed: 7, inputs: 1, onlyCase: Number(number) }).catch(
    (error: Error) => error.message,
  )
  expect(withoutStack(again)).toBe(withoutStack(failed.message))
})

function withoutStack(text: unknown): string {
  return String(text).replaceAll(/^ +at .*\n/gm, '')
}
