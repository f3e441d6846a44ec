import { ensureReady } from './ensure-deps.mjs'
import { runChild } from './run-child.mjs'

// npm run bench -- [arguments of bench/main.ts]
await ensureReady()
process.exitCode = await runChild(process.execPath, ['--import', 'tsx', 'bench/main.ts', ...process.argv.slice(2)])
