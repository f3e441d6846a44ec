import { ensureReady } from './ensure-deps.mjs'
import { runChild } from './run-child.mjs'

// npm run faults -- [arguments of test/faults/main.ts]
await ensureReady()
process.exitCode = await runChild(process.execPath, [
  '--import',
  'tsx',
  'test/faults/main.ts',
  ...process.argv.slice(2),
])
