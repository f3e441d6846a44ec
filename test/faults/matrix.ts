/** R: recovers by itself. H: halts, fail-closed. D: degraded but alive. */
export type Expectation = 'R' | 'H' | 'D'

export type Area = 'bridge' | 'postgres' | 'rabbitmq' | 'network' | 'host'

export interface Fault {
  readonly area: Area
  readonly title: string
  /** More than one where variants of the fault are answered differently. */
  readonly expect: readonly Expectation[]
}

/** Every fault that must have a row, by id. */
export const matrix = {
  F01: fault('bridge', 'kill -9 before the first Begin', 'R'),
  F02: fault('bridge', 'kill -9 in the middle of a transaction', 'R'),
  F03: fault('bridge', 'kill -9 after publish, before its confirm', 'R'),
  F04: fault('bridge', 'kill -9 when confirms came out of order and the lowest is missing', 'R'),
  F05: fault('bridge', 'kill -9 when all is confirmed and not yet stored', 'R'),
  F06: fault('bridge', 'kill -9 after storing, before acknowledging', 'R'),
  F07: fault('bridge', 'kill -9 after acknowledging', 'R'),
  F08: fault('bridge', 'graceful drain; second signal; kill after the grace time', 'R'),
  F09: fault(
    'bridge',
    'kill during init, during a replay or anchor rotation, while a dead letter is stored; outages in a replay',
    'R',
  ),
  F11: fault('bridge', 'random kills under load', 'R'),
  F12: fault('bridge', 'SIGSTOP for 5 s and for 90 s, then SIGCONT', 'R'),
  F13: fault('bridge', 'event loop blocked for 20 s; heap limited to 128 MB', 'R'),
  F20: fault('postgres', 'immediate crash and restart', 'R'),
  F21: fault('postgres', 'fast restart with a healthy broker', 'R'),
  F22: fault('postgres', 'fast restart with a blocked broker or a full window', 'R', 'D'),
  F23: fault('postgres', 'pg_terminate_backend on the walsender', 'R'),
  F24: fault('postgres', 'slot dropped', 'H'),
  F25: fault('postgres', 'slot invalidated by max_slot_wal_keep_size', 'H'),
  F27: fault('postgres', 'slot advanced by somebody; dropped and made again', 'H'),
  F28: fault('postgres', 'two bridges on one slot, the active one killed or stopped', 'R'),
  F29: fault('postgres', 'two bridges on one slot, the active one cut off from the network', 'R'),
  F30: fault('postgres', 'publication dropped, made again, table removed from it', 'H'),
  F31: fault('postgres', 'DDL under load', 'R', 'H'),
  F32: fault('postgres', 'a million rows in one transaction; 100 interleaved; 10,000 savepoints', 'R'),
  F33: fault('postgres', 'payload of 100 MB, or over the limit of the broker', 'R'),
  F35: fault('postgres', 'keys, headers and payloads that AMQP cannot carry', 'R'),
  F36: fault('postgres', 'PREPARE TRANSACTION with a restart in between', 'R'),
  F37: fault('postgres', 'TRUNCATE, DELETE, DROP PARTITION of rows not yet sent', 'R'),
  F38: fault('postgres', 'wal_sender_timeout of 2 s with a slow broker', 'R'),
  F39: fault('postgres', 'password rotated, role without REPLICATION, walsenders exhausted', 'R'),
  F40: fault('postgres', 'data folder restored from an older copy', 'R', 'H'),
  F41: fault('postgres', 'another cluster behind the same address', 'R', 'H'),
  F42: fault('postgres', 'stand-by promoted', 'R', 'H'),
  F44: fault('postgres', 'disk of PostgreSQL full', 'R'),
  F50: fault('rabbitmq', 'kill -9 and restart', 'R'),
  F51: fault('rabbitmq', 'stop_app; all connections closed', 'R'),
  F52: fault('rabbitmq', 'SIGSTOP for 30 s', 'R'),
  F53: fault('rabbitmq', 'memory alarm for 60 s, and flapping', 'D'),
  F54: fault('rabbitmq', 'disk alarm', 'D'),
  F55: fault('rabbitmq', 'queue limit with reject-publish and a slow consumer', 'R'),
  F56: fault('rabbitmq', 'fan-out with one of two queues full', 'R'),
  F58: fault('rabbitmq', 'exchange deleted or of another type', 'R', 'H', 'D'),
  F59: fault('rabbitmq', 'binding removed', 'R', 'H', 'D'),
  F60: fault('rabbitmq', 'permission revoked, password changed, user or virtual host deleted', 'R', 'H', 'D'),
  F61: fault('rabbitmq', 'queue deleted with unconfirmed publishes', 'R'),
  F62: fault('rabbitmq', 'message size limit lowered while running', 'R'),
  F63: fault('rabbitmq', 'late, unknown and repeated confirms; storms of multiple', 'R'),
  F70: fault('network', 'link to PostgreSQL slow, sliced, reset in a message, black-holed', 'R'),
  F71: fault('network', 'link to RabbitMQ slow, sliced, reset in a message, black-holed', 'R'),
  F72: fault('network', 'TLS: wrong authority, wrong host name, expired certificate', 'R', 'H'),
  F73: fault('network', 'both links flap at random', 'R'),
  F82: fault('host', 'clock jumps', 'R'),
  F83: fault('host', 'few file descriptors; CPU starved', 'R'),
  F85: fault('host', 'newer or older checkpoint schema', 'R', 'H'),
} as const

export type FaultId = keyof typeof matrix

export function isFaultId(text: string): text is FaultId {
  return Object.hasOwn(matrix, text)
}

function fault(area: Area, title: string, ...expect: readonly Expectation[]): Fault {
  return { area, title, expect }
}
