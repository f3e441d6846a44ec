import { BridgeError } from '../base/errors.ts'
import { formatLsn, type Lsn, noLsn, parseLsn } from '../base/lsn.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import { type HistoryEntry, listHistory, recordHistory, removeMark } from '../checkpoint/checkpoint-history.ts'
import { checkMarkName } from '../replay/position.ts'
import { walFloor } from '../replay/reach.ts'
import { type ReplaySource, replayableFrom } from '../replay/replayable.ts'
import { defaultConnectTimeout, withControl } from './connect.ts'
import { readLineage } from './lineage.ts'
import { requireSchema } from './migrate.ts'
import { listReplaySlots } from './replay-slots.ts'
import { type OutboxSource, readTableReach } from './table-reach.ts'

/** One line of `wal2rabbit checkpoints`. LSNs are text, times ISO 8601 with microseconds. */
export interface StoredCheckpoint {
  readonly storedAt: string
  readonly lsn: string
  readonly events: number
  /** `start`, `interval`, `stop`, `mark`, `gap` or `rewind`. */
  readonly kind: string
  readonly name: string | null
  /** From what a replay can start here: nothing when it is empty. */
  readonly replayable: readonly ReplaySource[]
  /** Everything that the entry's snapshot sees has committed below this LSN. */
  readonly snapshotWalEnd: string
  readonly timeline: number
}

/** How far back a source reaches; LSNs are text. */
export interface SourceReach {
  /** A replay can start there and above; null where it can start nowhere. */
  readonly lsn: string | null
  /** The slot that keeps the WAL from there on; null for the table. */
  readonly slot: string | null
  /** Why it reaches back to nothing; null where it does. */
  readonly why: string | null
}

export interface StoredCheckpoints {
  readonly entries: readonly StoredCheckpoint[]
  readonly reach: Readonly<Record<ReplaySource, SourceReach>>
}

export interface CheckpointsOptions extends OutboxSource {
  readonly url: string
  /** Milliseconds; default 10 s. */
  readonly connectTimeout?: number
}

/**
 * The newest `limit` stored LSNs of `slot`, newest first, with what a replay can start from at each. Rejects with a
 * BridgeError.
 */
export function listCheckpoints(options: CheckpointsOptions & { readonly limit: number }): Promise<StoredCheckpoints> {
  const { slot } = options
  return withBookkeeping(options, 'reading the checkpoint history', async (client) => {
    const entries = await listHistory(client, slot, options.limit)
    const server = await readLineage(client, options.url)
    const stored = await storedLsn(client, slot)
    const slots = await listReplaySlots(client, slot)
    const wal = walFloor(slots)
    const table = await readTableReach(client, options, server)
    const reach = { wal, table: 'from' in table ? table.from : undefined }
    return {
      entries: entries.map((entry) => describe(entry, replayableFrom(entry, reach, server, stored))),
      reach: {
        wal:
          wal === undefined
            ? { lsn: null, slot: null, why: `no slot of ${slot} can be streamed from` }
            : {
                lsn: formatLsn(wal),
                slot: slots.find((one) => one.confirmedFlushLsn === wal)!.name,
                why: null,
              },
        table:
          'from' in table
            ? { lsn: formatLsn(table.from), slot: null, why: null }
            : { lsn: null, slot: null, why: table.why },
      },
    }
  })
}

/**
 * Stores the present stored LSN under a name; works while a bridge runs. Rejects with a BridgeError: USAGE for a name
 * that is none or is taken, CHECKPOINT_MISSING where `init` has not recorded the slot.
 */
export async function markCheckpoint(options: CheckpointsOptions, name: string): Promise<HistoryEntry> {
  checkMarkName(name)
  const { slot } = options
  return withBookkeeping(options, 'storing the mark', async (client) => {
    const entry = await recordMark(client, slot, name)
    if (entry !== undefined) return entry
    throw new BridgeError('CHECKPOINT_MISSING', `wal2rabbit.checkpoint has no row for slot ${slot}`)
  })
}

async function recordMark(client: PostgresClient, slot: string, name: string): Promise<HistoryEntry | undefined> {
  try {
    return await recordHistory(client, slot, 'mark', name)
  } catch (error) {
    if ((error as { code?: unknown }).code !== '23505') throw error
    const text = `a mark ${name} of slot ${slot} exists already, expected a name that is not taken`
    // Its cause would only name an index.
    throw new BridgeError('USAGE', text)
  }
}

/** Removes a mark. Rejects with a BridgeError: USAGE when there is none of that name. */
export function unmarkCheckpoint(options: CheckpointsOptions, name: string): Promise<void> {
  const { slot } = options
  return withBookkeeping(options, 'removing the mark', async (client) => {
    if (await removeMark(client, slot, name)) return
    const text = `slot ${slot} has no mark ${JSON.stringify(name)}, expected one that "wal2rabbit checkpoints" lists`
    throw new BridgeError('USAGE', text)
  })
}

function withBookkeeping<T>(
  { url, connectTimeout = defaultConnectTimeout }: CheckpointsOptions,
  doing: string,
  work: (client: PostgresClient) => Promise<T>,
): Promise<T> {
  const control = { url, connectTimeout, applicationName: 'wal2rabbit checkpoints', statementTimeout: 10_000 }
  return withControl(control, doing, async (client) => {
    await requireSchema(client)
    return work(client)
  })
}

/** 0/0 where there is no checkpoint: nothing can be replayed then. */
async function storedLsn(client: PostgresClient, slot: string): Promise<Lsn> {
  const text = 'SELECT lsn::text AS lsn FROM wal2rabbit.checkpoint WHERE slot = $1'
  const { rows } = await client.query({ text, values: [slot] })
  return rows[0] === undefined ? noLsn : parseLsn(String(rows[0].lsn))
}

function describe(entry: HistoryEntry, replayable: readonly ReplaySource[]): StoredCheckpoint {
  return {
    storedAt: entry.storedAt,
    lsn: formatLsn(entry.lsn),
    events: Number(entry.events),
    kind: entry.kind,
    name: entry.name,
    replayable,
    snapshotWalEnd: formatLsn(entry.snapshotWalEnd),
    timeline: entry.timeline,
  }
}
