import type { Row } from '../row.ts'
import { accessRows } from './postgres-access.ts'
import { clusterRows } from './postgres-clusters.ts'
import { diskRows } from './postgres-disk.ts'
import { eventRows } from './postgres-events.ts'
import { promotionRows } from './postgres-promotion.ts'
import { publicationRows } from './postgres-publication.ts'
import { restartRows } from './postgres-restarts.ts'
import { slotRows } from './postgres-slots.ts'
import { tableRows } from './postgres-tables.ts'
import { transactionRows } from './postgres-transactions.ts'
import { waitingRows } from './postgres-waiting.ts'

export const postgresRows: readonly Row[] = [
  ...restartRows,
  ...waitingRows,
  ...slotRows,
  ...publicationRows,
  ...eventRows,
  ...tableRows,
  ...transactionRows,
  ...accessRows,
  ...clusterRows,
  ...promotionRows,
  ...diskRows,
]
