import { bridgeRows } from './rows/bridge.ts'
import { rows } from './rows/index.ts'
import { testQuickRows } from './test-quick-rows.ts'

testQuickRows(rows.filter((row) => !bridgeRows.includes(row)))
