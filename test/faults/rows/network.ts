import type { Row } from '../row.ts'
import { flappingRows } from './network-flapping.ts'
import { linkRows } from './network-links.ts'
import { tlsRows } from './network-tls.ts'

export const networkRows: readonly Row[] = [...linkRows, ...tlsRows, ...flappingRows]
