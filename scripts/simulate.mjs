import { ensureReady } from './ensure-deps.mjs'
import { runChild } from './run-child.mjs'

// npm run simulate -- [--histories 1000000] [--seed N] [--workers N]
await ensureReady()
process.exitCode = await runChild(process.execPath, [
  '--import',
  'tsx',
  'test/simulation/main.ts',
  ...process.argv.slice(2),
])
