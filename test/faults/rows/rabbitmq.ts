import type { Row } from '../row.ts'
import { accessRows } from './rabbitmq-access.ts'
import { bindingRows } from './rabbitmq-bindings.ts'
import { confirmRows } from './rabbitmq-confirms.ts'
import { exchangeRows } from './rabbitmq-exchanges.ts'
import { floodRows } from './rabbitmq-flood.ts'
import { limitRows } from './rabbitmq-limits.ts'
import { outageRows } from './rabbitmq-outages.ts'

export const rabbitmqRows: readonly Row[] = [
  ...outageRows,
  ...limitRows,
  ...exchangeRows,
  ...bindingRows,
  ...floodRows,
  ...accessRows,
  ...confirmRows,
]
