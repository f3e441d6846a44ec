import { ensureReady } from './ensure-deps.mjs'
import { runChild } from './run-child.mjs'

// npm test -- [vitest arguments]
await ensureReady()
process.exitCode = await runChild(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', ...process.argv.slice(2)])
