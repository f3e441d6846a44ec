import type { Row } from '../row.ts'
import { bridgeRows } from './bridge.ts'
import { hostRows } from './host.ts'
import { networkRows } from './network.ts'
import { postgresRows } from './postgres.ts'
import { rabbitmqRows } from './rabbitmq.ts'
import { longOutageRows } from './rabbitmq-long-outage.ts'

/** Every row there is. A new area is one more file here. */
export const rows: readonly Row[] = [
  ...bridgeRows,
  ...postgresRows,
  ...rabbitmqRows,
  ...longOutageRows,
  ...networkRows,
  ...hostRows,
]
