import { bridgeRows, replayRows } from './rows/bridge.ts'
import { testQuickRows } from './test-quick-rows.ts'

testQuickRows(bridgeRows.filter((row) => !replayRows.includes(row)))
