import type { Row } from '../row.ts'
import { crashRows } from './bridge-crashes.ts'
import { stopRows } from './bridge-stops.ts'
import { twoBridgeRows } from './two-bridges.ts'

export const bridgeRows: readonly Row[] = [...crashRows, ...stopRows, ...twoBridgeRows]
