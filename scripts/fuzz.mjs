import { ensureReady } from './ensure-deps.mjs'
import { runChild } from './run-child.mjs'

// npm run fuzz -- [--seed N] [--inputs 1000000] [--target NAME] [--case N]
await ensureReady()
// A heap that is small for what runs: one that grows with the inputs would end the process.
const memory = '--max-old-space-size=256'
process.exitCode = await runChild(process.execPath, [
  memory,
  '--import',
  'tsx',
  'test/fuzz/main.ts',
  ...process.argv.slice(2),
])
