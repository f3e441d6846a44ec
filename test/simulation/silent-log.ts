import { pino } from 'pino'
import type { Logger } from '../../src/base/log.ts'

const log = pino({ level: 'silent' })

/** WAL2RABBIT_SIMULATION_LOG makes a single history talk. */
const talking = process.env.WAL2RABBIT_SIMULATION_LOG === undefined ? undefined : pino({ level: 'debug', base: null })

export function silentLog(): Logger {
  return talking ?? log
}
