import type { RetentionSight } from '../retention/retention-loop.ts'
import type { SinkState } from '../sink/sink.ts'
import { type BridgeState, bridgeStates } from '../supervisor.ts'

export { type BridgeState, bridgeStates }

/**
 * The JSON of `/api/status` and of `status --json`. LSNs are text (`16/B374D848`), times ISO 8601 in UTC, sizes bytes,
 * durations seconds. `null` means not known yet, or that PostgreSQL says nothing about it.
 */
export interface Status {
  readonly state: BridgeState
  /** Why it is not streaming; null when it is. */
  readonly reason: { readonly code: string; readonly message: string; readonly remedy: string } | null
  /** When `state` was entered. */
  readonly since: string
  readonly version: string
  readonly pid: number
  readonly startedAt: string
  readonly slot: SlotStatus
  readonly positions: PositionsStatus
  readonly lag: LagStatus
  readonly window: WindowStatus
  readonly counters: CountersStatus
  readonly deadLetters: DeadLettersStatus
  readonly checkpoint: CheckpointStatus
  /** What outbox.retention does; null while it is off. */
  readonly retention: RetentionSight | null
  /** Null while this bridge does not hold the slot, or the server cannot be asked. */
  readonly replayWindow: ReplayWindowStatus | null
  readonly sink: { readonly state: SinkState; readonly blocked: boolean }
}

/** The slot as `pg_replication_slots` last showed it. Source: https://www.postgresql.org/docs/current/view-pg-replication-slots.html */
export interface SlotStatus {
  readonly name: string
  readonly plugin: string
  readonly publication: string
  readonly table: string
  /** `reserved`, `extended`, `unreserved` or `lost`. */
  readonly walStatus: string | null
  /** Bytes of WAL that may still be written before the slot is in danger; null without max_slot_wal_keep_size. */
  readonly safeWalSize: number | null
  readonly confirmedFlushLsn: string | null
  readonly restartLsn: string | null
  readonly active: boolean | null
}

/** received ≥ published ≥ settled ≥ stored ≥ acknowledged. */
export interface PositionsStatus {
  readonly received: string | null
  readonly published: string | null
  readonly settled: string | null
  readonly stored: string | null
  readonly acknowledged: string | null
}

export interface LagStatus {
  /** From the server's WAL end to the settled position. */
  readonly bytesToSettled: number | null
  /** From the server's WAL end to the slot's restart LSN: the WAL that the slot keeps from being removed. */
  readonly bytesToRestart: number | null
  /** Age of the oldest unsettled event; 0 when there is none. */
  readonly seconds: number
}

/** What the ordered window holds. `messages` and `bytes` are unsettled, `inFlight` of them wait for a confirm. */
export interface WindowStatus {
  readonly messages: number
  readonly bytes: number
  readonly inFlight: number
  readonly limitMessages: number
  readonly limitBytes: number
}

/** Events since the process started. */
export interface CountersStatus {
  readonly received: number
  readonly published: number
  readonly confirmed: number
  readonly nacked: number
  readonly returned: number
  readonly dropped: number
  readonly deadLettered: number
  readonly ignored: number
  readonly reconnects: { readonly source: number; readonly sink: number }
}

/** What waits for a person: looked at every few seconds. */
export interface DeadLettersStatus {
  readonly parked: number | null
  /** Aggregates whose later events are parked behind one of them. */
  readonly aggregates: number | null
}

export interface CheckpointStatus {
  readonly storedAt: string | null
  readonly ageSeconds: number | null
  /** Events settled by this slot since its first checkpoint. */
  readonly events: number | null
  /** Counts the owners of the slot; a newer one fences the older. */
  readonly epoch: number | null
  readonly owner: string | null
}

/** How far back `replay` and `rewind` reach in the WAL: looked at about every second. */
export interface ReplayWindowStatus {
  /** Oldest first; `lsn` is where a copy of it begins. */
  readonly anchors: readonly { readonly name: string; readonly lsn: string | null; readonly retainedBytes: number }[]
  /** All that commits from this LSN on. */
  readonly reachesBackTo: string | null
  /** All that committed since then; null without an anchor. */
  readonly reachesBackToTime: string | null
  /** The same as distances from now: to the server's WAL end, and in time. */
  readonly bytes: number | null
  readonly seconds: number | null
  /** WAL that the anchors keep from being removed: at most twice `replay.window.bytes`. */
  readonly retainedBytes: number
  /** Why it is less than `replay.window` asks for, or will be; null when it is in order. */
  readonly degraded: string | null
}

/** Reads the present status: synchronous, no I/O, never throws. Asked at each scrape and each request. */
export type StatusProvider = () => Status
