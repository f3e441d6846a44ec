import { SeededRandom } from '../support/seeded-random.ts'
import { CaseLog, type FuzzTarget } from './fuzz-target.ts'

/** The longest that the inputs of one case may take. */
export const caseTime_ms_max = 10_000

export interface FuzzOptions {
  readonly seed: number
  /** Cases are made until so many inputs have been given. */
  readonly inputs: number
  /** Only this case. */
  readonly onlyCase?: number | undefined
  /** Told of each case before it runs. */
  readonly onCase?: (number: number, log: CaseLog) => void
}

export interface FuzzResult {
  readonly target: string
  readonly cases: number
  readonly inputs: number
  readonly accepted: number
  readonly refused: ReadonlyMap<string, number>
  readonly seconds: number
  /** Most memory outside and inside of the heap that was seen, in bytes. */
  readonly memory_bytes: number
}

/** A case that went wrong, with what it takes to run it again. */
export class FuzzFailure extends Error {
  override readonly name = 'FuzzFailure'

  constructor(target: string, seed: number, number: number, inputs: readonly Buffer[], cause: unknown) {
    const given = inputs.slice(-3).map((input) => `  ${input.toString('hex', 0, 4096)}`)
    super(
      `${target}, seed ${seed}, case ${number}: ${chain(cause)}\n` +
        `again: npm run fuzz -- --target ${target} --seed ${seed} --case ${number}\n` +
        `the last of its ${inputs.length} inputs (hex, the first 4096 bytes of each):\n${given.join('\n')}`,
      { cause },
    )
  }
}

/** Runs cases against one target until enough inputs were given. Rejects with a FuzzFailure at the first that is wrong. */
export async function runFuzz(target: FuzzTarget, options: FuzzOptions): Promise<FuzzResult> {
  const started = performance.now()
  const run = await target.start()
  const refused = new Map<string, number>()
  let [cases, inputs, accepted, memory_bytes] = [0, 0, 0, 0]
  let unsound: FuzzFailure | undefined
  try {
    for (let number = options.onlyCase ?? 0; inputs < options.inputs; number++) {
      const log = new CaseLog()
      options.onCase?.(number, log)
      try {
        await within(run.runCase(new SeededRandom(seedOf(options.seed, number)), log))
      } catch (error) {
        unsound = new FuzzFailure(target.name, options.seed, number, log.inputs, error)
        throw unsound
      }
      cases++
      inputs += log.inputs.length
      accepted += log.accepted
      for (const [code, count] of log.refused) refused.set(code, (refused.get(code) ?? 0) + count)
      if (number % 64 === 0) memory_bytes = Math.max(memory_bytes, process.memoryUsage.rss())
      if (options.onlyCase !== undefined) break
    }
  } finally {
    await run.stop?.()
  }
  const seconds = (performance.now() - started) / 1000
  return { target: target.name, cases, inputs, accepted, refused, seconds, memory_bytes }
}

async function within(running: Promise<void> | void): Promise<void> {
  if (running === undefined) return
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it takes more than ${caseTime_ms_max} ms`)), caseTime_ms_max)
  })
  try {
    await Promise.race([running, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Each case has a generator of its own, so that one can be run alone. */
function seedOf(seed: number, number: number): number {
  return Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) + Math.imul(number + 1, 0xc2b2ae35)
}

function chain(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const place = error.cause === undefined ? `\n${error.stack?.split('\n').slice(1, 6).join('\n') ?? ''}` : ''
  return `${error.name}: ${error.message}${place}${error.cause === undefined ? '' : `\n  cause: ${chain(error.cause)}`}`
}
