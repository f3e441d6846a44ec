import { parseLsn } from '../base/lsn.ts'
import { bridgeStates, type Status } from './status.ts'

/** What one metric reads from a status: a number, null for "not known" (the series is left out), or one number a label value. */
type Reading = number | null | Readonly<Record<string, number | null>>

/** One metric of the table below. `label` names the only label of a reading that has several values. */
export interface Series {
  readonly kind: 'counter' | 'gauge'
  readonly name: string
  readonly help: string
  readonly label?: string
  readonly read: (status: Status) => Reading
}

const walStatuses = ['reserved', 'extended', 'unreserved', 'lost'] as const

const lsnHelp = 'as a byte offset in the WAL; above 2^53 a double no longer holds every byte of it'

function oneOf(values: readonly string[], current: string | null): Record<string, number> {
  return Object.fromEntries(values.map((value) => [value, value === current ? 1 : 0]))
}

function lsnGauge(position: string, help: string, read: (status: Status) => string | null): Series {
  const offset = (status: Status) => {
    const lsn = read(status)
    return lsn === null ? null : Number(parseLsn(lsn))
  }
  return { kind: 'gauge', name: `wal2rabbit_${position}_lsn_bytes`, help: `${help}, ${lsnHelp}.`, read: offset }
}

function gauge(name: string, help: string, read: (status: Status) => number | null): Series {
  return { kind: 'gauge', name: `wal2rabbit_${name}`, help, read }
}

function counter(name: string, help: string, read: (status: Status) => number): Series {
  return { kind: 'counter', name: `wal2rabbit_${name}_total`, help, read }
}

/** A metric with one series for each value of its only label. */
function labelled(
  kind: Series['kind'],
  name: string,
  label: string,
  help: string,
  read: (status: Status) => Record<string, number | null>,
): Series {
  return { kind, name: `wal2rabbit_${name}${kind === 'counter' ? '_total' : ''}`, help, label, read }
}

/** Every metric that is read from the status. Base units, no label that an event or an operator could fill. */
export const statusSeries: readonly Series[] = [
  labelled('gauge', 'state', 'state', 'State of the bridge: 1 for the present one, 0 for the others.', (s) =>
    oneOf(bridgeStates, s.state),
  ),
  labelled('gauge', 'build_info', 'version', 'Always 1; the label tells the version.', (s) => ({ [s.version]: 1 })),

  counter('events_received', 'Outbox rows received from the WAL.', (s) => s.counters.received),
  counter('events_published', 'Messages published, repeats included.', (s) => s.counters.published),
  counter('events_confirmed', 'Messages that RabbitMQ confirmed.', (s) => s.counters.confirmed),
  counter('events_nacked', 'Messages that RabbitMQ refused with a nack.', (s) => s.counters.nacked),
  counter('events_returned', 'Messages that no queue took.', (s) => s.counters.returned),
  counter('events_dropped', 'Unroutable events dropped by policy.', (s) => s.counters.dropped),
  counter('events_dead_lettered', 'Events kept as dead letters.', (s) => s.counters.deadLettered),
  counter('changes_ignored', 'WAL messages that publish nothing.', (s) => s.counters.ignored),
  labelled(
    'counter',
    'reconnects',
    'side',
    'Connections opened again: source is PostgreSQL, sink is RabbitMQ.',
    (s) => ({
      ...s.counters.reconnects,
    }),
  ),

  lsnGauge('received', 'Position up to which rows were received', (s) => s.positions.received),
  lsnGauge('published', 'Position up to which rows were published', (s) => s.positions.published),
  lsnGauge('settled', 'Position below which all is confirmed or parked', (s) => s.positions.settled),
  lsnGauge('stored', 'Position stored in the checkpoint', (s) => s.positions.stored),
  lsnGauge('acknowledged', 'Position that the slot was told', (s) => s.positions.acknowledged),
  lsnGauge('slot_confirmed_flush', 'confirmed_flush_lsn of the slot', (s) => s.slot.confirmedFlushLsn),
  lsnGauge('slot_restart', 'restart_lsn of the slot', (s) => s.slot.restartLsn),

  labelled(
    'gauge',
    'lag_bytes',
    'to',
    'WAL from its end back to the confirmed position, or to the restart LSN.',
    (s) => ({
      confirmed: s.lag.bytesToSettled,
      restart: s.lag.bytesToRestart,
    }),
  ),
  gauge('lag_seconds', 'Age of the oldest unsettled event; 0 when there is none.', (s) => s.lag.seconds),

  gauge('dead_letters', 'Dead letters that wait for a person, counted up to 100,000.', (s) => s.deadLetters.parked),
  gauge(
    'parked_aggregates',
    'Aggregates whose later events are parked behind a dead letter.',
    (s) => s.deadLetters.aggregates,
  ),

  gauge('window_messages', 'Unsettled messages in the window.', (s) => s.window.messages),
  gauge('window_bytes', 'Bytes of the unsettled messages in the window.', (s) => s.window.bytes),
  gauge('window_in_flight_messages', 'Messages that wait for a confirm.', (s) => s.window.inFlight),
  gauge('window_limit_messages', 'Most messages that the window may hold.', (s) => s.window.limitMessages),
  gauge('window_limit_bytes', 'Most bytes that the window may hold.', (s) => s.window.limitBytes),

  gauge('replay_anchors', 'Anchor slots, which keep WAL for replay.', (s) => s.replayWindow?.anchors.length ?? null),
  gauge('replay_window_bytes', 'WAL that can be replayed.', (s) => s.replayWindow?.bytes ?? null),
  gauge('replay_window_seconds', 'How far back WAL can be replayed.', (s) => s.replayWindow?.seconds ?? null),
  gauge(
    'replay_wal_retained_bytes',
    'WAL that anchor slots keep from being removed.',
    (s) => s.replayWindow?.retainedBytes ?? null,
  ),
  gauge('replay_window_degraded', 'Whether less can be replayed than replay.window asks for, or will be.', (s) =>
    s.replayWindow === null ? null : s.replayWindow.degraded === null ? 0 : 1,
  ),

  counter(
    'outbox_rows_deleted',
    'Rows of the outbox table deleted by outbox.retention.',
    (s) => s.retention?.rowsDeleted ?? 0,
  ),
  counter(
    'outbox_partitions_dropped',
    'Partitions of the outbox table dropped by outbox.retention.',
    (s) => s.retention?.partitionsDropped ?? 0,
  ),
  gauge('outbox_retention_failing', 'Whether old rows of the outbox table could not all be deleted.', (s) =>
    s.retention === null ? null : s.retention.failing === null ? 0 : 1,
  ),
  gauge('outbox_retention_waiting', 'Whether old rows of the outbox table wait for somebody who needs them.', (s) =>
    s.retention === null ? null : s.retention.waiting === null ? 0 : 1,
  ),

  gauge('sink_blocked', 'Whether RabbitMQ blocks publishers (memory or disk alarm).', (s) => (s.sink.blocked ? 1 : 0)),
  gauge('checkpoint_age_seconds', 'Time since the checkpoint was last stored.', (s) => s.checkpoint.ageSeconds),
  labelled(
    'gauge',
    'slot_wal_status',
    'status',
    'wal_status of the slot: 1 for the present one, 0 for the others.',
    (s) => oneOf(walStatuses, s.slot.walStatus),
  ),
  gauge('slot_safe_wal_bytes', 'WAL that may be written before the slot is in danger.', (s) => s.slot.safeWalSize),
]
