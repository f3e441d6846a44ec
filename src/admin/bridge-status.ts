import type { BridgeError } from '../base/errors.ts'
import { formatLsn, type Lsn, maxLsn } from '../base/lsn.ts'
import type { CheckpointRow } from '../checkpoint/checkpoint-row.ts'
import type { Positions } from '../checkpoint/positions.ts'
import type { AnchorSight } from '../replay/anchor-keeper.ts'
import type { RetentionSight } from '../retention/retention-loop.ts'
import type { ConfirmWindow, WindowLimits } from '../sink/confirm-window.ts'
import type { Sink } from '../sink/sink.ts'
import type { SourceCounters } from '../source/source.ts'
import { replayWindowStatus } from './replay-window-status.ts'
import type { BridgeState, Status } from './status.ts'

/** The slot as last looked at, while a session lasts. */
export interface SlotSight {
  readonly walStatus: string | null
  readonly safeWalSize: bigint | null
  readonly confirmedFlushLsn: Lsn | null
  readonly restartLsn: Lsn | null
  readonly active: boolean
  /** The server's WAL end at that moment. */
  readonly walEnd: Lsn
}

/** What dead letters there were when last looked, while a session lasts. */
export interface ParkedSight {
  readonly deadLetters: number
  /** Aggregates whose later events wait behind one. */
  readonly aggregates: number
}

/** The living parts that a status is read from. */
export interface StatusParts {
  readonly state: BridgeState
  readonly reason: BridgeError | undefined
  readonly since: Date
  readonly startedAt: Date
  readonly version: string
  readonly names: {
    readonly name: string
    readonly plugin: string
    readonly publication: string
    readonly table: string
  }
  readonly slot: SlotSight | undefined
  readonly parked: ParkedSight | undefined
  readonly replayWindow: AnchorSight | undefined
  readonly positions: Positions | undefined
  readonly window: ConfirmWindow
  readonly limits: WindowLimits
  readonly sink: Sink
  readonly received: SourceCounters
  readonly sourceReconnects: number
  readonly checkpoint: CheckpointRow | undefined
  /** Undefined while it is off. */
  readonly retention: RetentionSight | undefined
  readonly now: Date
}

/** Reads the parts into one status. Pure; the clock comes with the parts. */
export function describeBridge(parts: StatusParts): Status {
  const { reason, names, slot, positions, window, limits, sink, received, checkpoint, now } = parts
  const settled = positions === undefined ? undefined : window.settled.lsn
  const head = window.head
  // The server is looked at only now and then; what has come in since shows that its WAL has grown.
  const walEnd = slot === undefined ? undefined : maxLsn(slot.walEnd, window.receivedLsn)
  return {
    state: parts.state,
    reason: reason === undefined ? null : { code: reason.code, message: reason.message, remedy: reason.remedy },
    since: parts.since.toISOString(),
    version: parts.version,
    pid: process.pid,
    startedAt: parts.startedAt.toISOString(),
    slot: {
      ...names,
      walStatus: slot?.walStatus ?? null,
      safeWalSize: slot?.safeWalSize == null ? null : Number(slot.safeWalSize),
      confirmedFlushLsn: lsnText(slot?.confirmedFlushLsn),
      restartLsn: lsnText(slot?.restartLsn),
      active: slot?.active ?? null,
    },
    positions: {
      received: lsnText(positions?.received),
      published: lsnText(positions?.published),
      settled: lsnText(settled),
      stored: lsnText(positions?.stored.lsn ?? checkpoint?.position.lsn),
      acknowledged: lsnText(positions?.acknowledged),
    },
    lag: {
      bytesToSettled: distance(walEnd, settled),
      bytesToRestart: distance(walEnd, slot?.restartLsn),
      seconds: head === undefined ? 0 : Math.max(0, now.getTime() / 1000 - head.committedAtSeconds),
    },
    window: {
      messages: window.messages,
      bytes: window.bytes,
      inFlight: window.inFlight,
      limitMessages: limits.messages,
      limitBytes: limits.bytes,
    },
    counters: {
      received: received.rows,
      published: sink.counters.published,
      confirmed: sink.counters.confirmed,
      nacked: sink.counters.nacked,
      returned: sink.counters.returned,
      dropped: sink.counters.dropped,
      deadLettered: sink.counters.deadLettered,
      ignored: received.ignored,
      reconnects: { source: parts.sourceReconnects, sink: sink.counters.reconnects },
    },
    deadLetters: {
      parked: parts.parked?.deadLetters ?? null,
      aggregates: parts.parked?.aggregates ?? null,
    },
    checkpoint: {
      storedAt: checkpoint?.storedAt ?? null,
      ageSeconds:
        checkpoint === undefined ? null : Math.max(0, (now.getTime() - Date.parse(checkpoint.storedAt)) / 1000),
      events: checkpoint === undefined ? null : Number(checkpoint.events),
      epoch: checkpoint === undefined ? null : Number(checkpoint.epoch),
      owner: checkpoint?.owner ?? null,
    },
    replayWindow: parts.replayWindow === undefined ? null : replayWindowStatus(parts.replayWindow),
    retention: parts.retention ?? null,
    sink: { state: sink.state, blocked: sink.state === 'blocked' },
  }
}

function lsnText(lsn: Lsn | null | undefined): string | null {
  return lsn == null ? null : formatLsn(lsn)
}

/** Bytes of WAL between two positions; 0 when the second lies ahead of the first. */
function distance(end: Lsn | undefined, from: Lsn | null | undefined): number | null {
  if (end === undefined || from == null) return null
  return end > from ? Number(end - from) : 0
}
