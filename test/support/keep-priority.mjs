import { syncBuiltinESMExports } from 'node:module'
import os from 'node:os'

// node --import this dist/cli/main.js: the process keeps the priority that it was started with.
os.setPriority = () => {}
syncBuiltinESMExports()
