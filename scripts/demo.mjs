import { ensureReady } from './ensure-deps.mjs'
import { runChild } from './run-child.mjs'

// npm run demo -- [arguments of demo/main.ts]
await ensureReady()
process.exitCode = await runChild(process.execPath, ['--import', 'tsx', 'demo/main.ts', ...process.argv.slice(2)])
