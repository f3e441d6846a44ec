import type { Row } from '../row.ts'
import { accessRows } from './rabbitmq-access.ts'
import { confirmRows } from './rabbitmq-confirms.ts'
import { floodRows } from './rabbitmq-flood.ts'
import { limitRows } from './rabbitmq-limits.ts'
import { outageRows } from './rabbitmq-outages.ts'
import { topologyRows } from './rabbitmq-topology.ts'

export const rabbitmqRows: readonly Row[] = [
  ...outageRows,
  ...limitRows,
  ...topologyRows,
  ...floodRows,
  ...accessRows,
  ...confirmRows,
]
