import type { Row } from '../row.ts'
import { clockRows } from './host-clock.ts'
import { limitRows } from './host-limits.ts'
import { schemaRows } from './host-schema.ts'

export const hostRows: readonly Row[] = [...clockRows, ...limitRows, ...schemaRows]
