import { replayRows } from './rows/bridge.ts'
import { testQuickRows } from './test-quick-rows.ts'

testQuickRows(replayRows)
