import { BridgeError } from '../base/errors.ts'
import { failPoint } from '../base/fail-point.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import type { CheckpointRow } from '../checkpoint/checkpoint-row.ts'
import { comparePositions } from '../checkpoint/positions.ts'
import { loadRewindIntent, type RewindIntent, rewindUnfinished } from '../checkpoint/rewind-intent.ts'
import { listReplays, type ReplayRecord } from '../replay/replay-record.ts'
import { nextAbortStep, nextRewindStep } from '../replay/rewind-step.ts'
import type { StartPosition } from '../source/source.ts'
import { requireGrants } from './check-grants.ts'
import { defaultConnectTimeout, withControl } from './connect.ts'
import type { Place } from './locate-position.ts'
import { requireSchema } from './migrate.ts'
import { lookAtPosition } from './position-facts.ts'
import { writeIntent } from './rewind-changes.ts'
import { carryOutRewind, waitForFreeSlot } from './rewind-execution.ts'
import { planRewind, type RewindPlan } from './rewind-plan.ts'
import { takeSlotLock } from './setup-lock.ts'

/** Says where the stream is to begin again. Rejects with POSITION_UNKNOWN, POSITION_AHEAD and the like. */
export type LocateTarget = (client: PostgresClient) => Promise<Place>

/** `to`: begin, or go on with the same target; `resume` and `abort`: finish or give up what was interrupted. */
export type RewindRequest =
  | { readonly kind: 'to'; readonly locate: LocateTarget }
  | { readonly kind: 'resume' }
  | { readonly kind: 'abort' }

export interface RewindOptions {
  readonly url: string
  /** Milliseconds; default 10 s. */
  readonly connectTimeout?: number
  readonly slot: string
  readonly plugin: 'pgoutput' | 'wal2json'
  /** `user@host`. */
  readonly startedBy: string
  readonly request: RewindRequest
  /** False: looks and tells, changes nothing. */
  readonly apply: boolean
  /** Milliseconds to wait for a process that still holds the slot; default 10 s. */
  readonly slotTimeout?: number
  /** Called before the first change, and waited for. */
  readonly onWork?: (work: RewindWork) => void | Promise<void>
  /** Called with each step as it is done, for people. */
  readonly onStep?: (text: string) => void
  /** Called with a line for the operator while something takes long. */
  readonly onNotice?: (text: string) => void
}

/** What there is to do. */
export type RewindWork =
  | {
      readonly kind: 'begin'
      readonly plan: RewindPlan
      readonly row: CheckpointRow
      readonly inUse: boolean
      /** Replays of the slot that a process runs at this moment, newest first. */
      readonly replays: readonly ReplayRecord[]
    }
  | { readonly kind: 'resume' | 'abort'; readonly intent: RewindIntent }
  /** The position is there already, or nothing is unfinished. */
  | { readonly kind: 'nothing' }

/** Milliseconds; no statement of a rewind waits for anything but a lock. */
const statementTimeout = 60_000
const defaultSlotTimeout = 10_000
/** Far more than run at once. */
const replays_max = 1000

/**
 * Moves the stored position back, and puts a slot under the name of the live one that streams from there. Safe to kill: an
 * intent in `wal2rabbit.rewind` shuts out every bridge until a later run has finished it, and what that has to do is read
 * from slots and checkpoint alone. Resolves with what was done or, without `apply`, would be.
 *
 * Rejects with BRIDGE_RUNNING, POSITION_UNKNOWN, POSITION_AHEAD, REPLAY_OUT_OF_REACH, REWIND_UNFINISHED (of another
 * target), with what the guards of a bridge's start say, and with errors of the connection.
 */
export async function runRewind(options: RewindOptions): Promise<RewindWork> {
  const { url, connectTimeout = defaultConnectTimeout, slot, apply } = options
  const control = { url, applicationName: 'wal2rabbit rewind', statementTimeout: 0, connectTimeout }
  return withControl(control, `rewinding slot ${slot}`, async (client) => {
    await requireGrants(client, 'rewind')
    await requireSchema(client)
    if (apply) await takeSlotLock(client, slot, { notice: options.onNotice ?? (() => undefined) })
    await client.query({ text: `SET statement_timeout = ${statementTimeout}` })
    const slotTimeout = options.slotTimeout ?? defaultSlotTimeout
    if (apply) await waitForFreeSlot(client, slot, slotTimeout)
    const work = await findWork(client, options)
    await options.onWork?.(work)
    if (!apply || work.kind === 'nothing') return work
    const onStep = options.onStep ?? (() => undefined)
    if (work.kind === 'begin') await begin(client, options, work)
    const next = work.kind === 'abort' ? nextAbortStep : nextRewindStep
    await carryOutRewind({ client, url, slot, plugin: options.plugin, next, slotTimeout, onStep })
    return work
  })
}

async function findWork(client: PostgresClient, options: RewindOptions): Promise<RewindWork> {
  const { slot, request } = options
  const intent = await loadRewindIntent(client, slot)
  if (request.kind !== 'to') return intent === undefined ? { kind: 'nothing' } : { kind: request.kind, intent }
  if (intent !== undefined) return goOn(client, request.locate, intent)
  const place = await request.locate(client)
  const found = await lookAtPosition(client, slot)
  const target = positionAt(place, found.row?.position)
  const plan = await planRewind(client, found, options, target)
  if (plan === undefined) return { kind: 'nothing' }
  const replays = await runningReplays(client, slot)
  return { kind: 'begin', plan, row: found.row!, inUse: found.slot?.active === true, replays }
}

/** Not those that a crash left behind. */
async function runningReplays(client: PostgresClient, slot: string): Promise<ReplayRecord[]> {
  return (await listReplays(client, slot, replays_max)).filter(({ kind, locked }) => kind === 'replay' && locked)
}

/** The same target again means to finish it; what cannot be found, now that the position has moved, is another one. */
async function goOn(client: PostgresClient, locate: LocateTarget, intent: RewindIntent): Promise<RewindWork> {
  const place = await locate(client).catch((cause: unknown) => {
    throw new BridgeError('REWIND_UNFINISHED', rewindUnfinished(intent).message, { cause })
  })
  if (comparePositions(intent.target, positionAt(place, intent.from)) === 0) return { kind: 'resume', intent }
  throw rewindUnfinished(intent)
}

/** Positions begin at an end LSN: in the transaction that is settled in part, at the one which is stored before it. */
function positionAt({ lsn, rows }: Place, stored: StartPosition | undefined): StartPosition {
  const isAhead = stored !== undefined && lsn > stored.lsn && lsn <= (stored.partial?.commitLsn ?? stored.lsn)
  return { lsn: isAhead ? stored.lsn : lsn, partial: rows === 0 ? null : { commitLsn: lsn, rows } }
}

async function begin(
  client: PostgresClient,
  { startedBy, onStep }: RewindOptions,
  { plan, row }: Extract<RewindWork, { kind: 'begin' }>,
): Promise<void> {
  await writeIntent(client, row, { ...plan, startedBy })
  failPoint('rewind-intended')
  onStep?.('no bridge may start until this is finished')
}
