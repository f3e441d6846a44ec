import { replayWindowStatus } from '../admin/replay-window-status.ts'
import type { ReplayWindowStatus } from '../admin/status.ts'
import { formatLsn, type Lsn } from '../base/lsn.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import { checkpointColumnsSql, parseCheckpointRow } from '../checkpoint/checkpoint-row.ts'
import { readServerFacts } from '../checkpoint/server-facts.ts'
import { describeWindow } from '../replay/replay-window.ts'
import { inspectSlot } from '../source/slot.ts'
import { readWindowFacts } from './anchor-server.ts'
import { defaultConnectTimeout, withControl } from './connect.ts'
import { requireSchema } from './migrate.ts'

const control = { applicationName: 'wal2rabbit status', statementTimeout: 10_000 }

/**
 * What PostgreSQL knows of a slot while no bridge answers, under the names of `/api/status`. LSNs are text, sizes bytes,
 * times ISO 8601. `null` where there is no checkpoint or no slot.
 */
export interface StoredStatus {
  readonly slot: {
    readonly name: string
    readonly plugin: string | null
    readonly walStatus: string | null
    readonly safeWalSize: number | null
    readonly confirmedFlushLsn: string | null
    readonly restartLsn: string | null
    readonly active: boolean | null
  }
  readonly positions: { readonly stored: string | null; readonly acknowledged: string | null }
  readonly lag: { readonly bytesToStored: number | null; readonly bytesToRestart: number | null }
  /** As in `/api/status`; what degrades it only a running bridge knows. */
  readonly replayWindow: Omit<ReplayWindowStatus, 'degraded'>
  readonly checkpoint: {
    readonly storedAt: string | null
    readonly ageSeconds: number | null
    readonly events: number | null
    readonly epoch: number | null
    readonly owner: string | null
  }
}

export interface StoredStatusOptions {
  readonly url: string
  /** Milliseconds; default 10 s. */
  readonly connectTimeout?: number
  readonly slot: string
}

/** Rejects with a BridgeError: SCHEMA_MISSING where `init` never ran, and those of the connection. */
export function readStoredStatus(options: StoredStatusOptions): Promise<StoredStatus> {
  const { url, connectTimeout = defaultConnectTimeout } = options
  return withControl({ ...control, url, connectTimeout }, 'reading the stored status', async (client) => {
    await requireSchema(client)
    return describeStored(client, options.slot)
  })
}

async function describeStored(client: PostgresClient, name: string): Promise<StoredStatus> {
  const text = `SELECT ${checkpointColumnsSql} FROM wal2rabbit.checkpoint WHERE slot = $1`
  const found = (await client.query({ text, values: [name] })).rows[0]
  const row = found === undefined ? undefined : parseCheckpointRow(found)
  const slot = await inspectSlot(client, name)
  const { walEnd } = await readServerFacts(client)
  const { degraded: _, ...replayWindow } = replayWindowStatus({
    ...describeWindow(await readWindowFacts(client, name)),
    degraded: null,
  })
  return {
    slot: {
      name,
      plugin: slot?.plugin ?? null,
      walStatus: slot?.walStatus ?? null,
      safeWalSize: slot?.safeWalSize === undefined ? null : Number(slot.safeWalSize),
      confirmedFlushLsn: lsnText(slot?.confirmedFlushLsn),
      restartLsn: lsnText(slot?.restartLsn),
      active: slot?.active ?? null,
    },
    positions: { stored: lsnText(row?.position.lsn), acknowledged: lsnText(slot?.confirmedFlushLsn) },
    lag: {
      bytesToStored: row === undefined ? null : Number(walEnd - row.position.lsn),
      bytesToRestart: slot === undefined ? null : Number(slot.retainedBytes),
    },
    replayWindow,
    checkpoint: {
      storedAt: row?.storedAt ?? null,
      ageSeconds: row === undefined ? null : Math.max(0, (Date.now() - Date.parse(row.storedAt)) / 1000),
      events: row === undefined ? null : Number(row.events),
      epoch: row === undefined ? null : Number(row.epoch),
      owner: row?.owner ?? null,
    },
  }
}

function lsnText(lsn: Lsn | undefined): string | null {
  return lsn === undefined ? null : formatLsn(lsn)
}
