import { parseArgs } from 'node:util'
import { type FuzzResult, runFuzz } from './run-fuzz.ts'
import { fuzzTargets } from './targets.ts'
import { watchForHang } from './watch-for-hang.ts'

// npm run fuzz [-- --seed N] [--inputs 1000000] [--target NAME] [--case N]
const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    inputs: { type: 'string', default: '1000000' },
    target: { type: 'string' },
    case: { type: 'string' },
  },
})
const seed = Number(values.seed)
const chosen = fuzzTargets.filter(({ name }) => values.target === undefined || name === values.target)
const names = fuzzTargets.map(({ name }) => name).join(', ')
if (chosen.length === 0 || !Number.isInteger(seed) || !(Number(values.inputs) >= 1)) {
  console.error(`expected whole numbers for --seed and --inputs, and as --target one of ${names}`)
  process.exit(2)
}

const watch = watchForHang()
let failure: unknown
for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
  process.on(event, (error: unknown) => {
    console.error(`an error that nobody handled, seed ${seed}: ${error instanceof Error ? error.stack : String(error)}`)
    console.error(`the last of the inputs (hex): ${watch.lastInputs().join(' ')}`)
    process.exit(1)
  })
}

console.log(`seed ${seed}`)
const results: FuzzResult[] = []
const weights = chosen.reduce((sum, { weight }) => sum + weight, 0)
for (const target of chosen) {
  const inputs = Math.ceil((Number(values.inputs) * target.weight) / weights)
  const onlyCase = values.case === undefined ? undefined : Number(values.case)
  try {
    const onCase = watch.noteCase(`${target.name}, seed ${seed}`)
    const result = await runFuzz(target, { seed, inputs, onlyCase, onCase })
    results.push(result)
    console.log(describe(result))
  } catch (error) {
    failure = error
    break
  }
}
watch.stop()
if (failure !== undefined) {
  console.error(failure instanceof Error ? failure.message : String(failure))
  process.exit(1)
}
const sum = results.reduce((total, { inputs }) => total + inputs, 0)
const seconds = results.reduce((total, result) => total + result.seconds, 0)
const memory = Math.max(...results.map(({ memory_bytes }) => memory_bytes))
console.log(
  `${sum} inputs in ${seconds.toFixed(1)} s, at most ${Math.round(memory / 2 ** 20)} MiB resident, nothing wrong`,
)
process.exit(0)

function describe({ target, inputs, accepted, refused, seconds }: FuzzResult): string {
  const codes = [...refused].sort().map(([code, count]) => `${code} ${count}`)
  return `${target.padEnd(13)} ${String(inputs).padStart(8)} inputs ${String(accepted).padStart(7)} accepted ${seconds.toFixed(1).padStart(6)} s  refused: ${codes.join(', ') || 'none'}`
}
