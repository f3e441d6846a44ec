import type { Row } from '../row.ts'
import { rotationRows } from './anchor-rotation.ts'
import { crashRows } from './bridge-crashes.ts'
import { stopRows } from './bridge-stops.ts'
import { replayKillRows } from './replay-kills.ts'
import { replayOutageRows } from './replay-outages.ts'
import { twoBridgeRows } from './two-bridges.ts'

/** A replay or a keeper of anchors beside the bridge. */
export const replayRows: readonly Row[] = [...replayKillRows, ...replayOutageRows, ...rotationRows]

export const bridgeRows: readonly Row[] = [...crashRows, ...stopRows, ...replayRows, ...twoBridgeRows]
