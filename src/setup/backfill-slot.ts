import type { Socket } from 'node:net'
import pg from 'pg'
import { assert } from '../base/assert.ts'
import { BridgeError } from '../base/errors.ts'
import { type Lsn, parseLsn } from '../base/lsn.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import { clientConfigFromUrl } from '../base/postgres-url.ts'
import { slotNameFor } from '../base/slot-name.ts'
import { quoteIdent, quoteLiteral } from '../base/sql.ts'
import { replicationConfig } from '../source/connection-config.ts'
import { toSourceError } from '../source/failure.ts'
import { copySlot } from '../source/slot.ts'

/** Between two attempts to take the name that a process left behind which was killed a moment ago; milliseconds. */
const retryDelay = 250
const retries_max = 40
/** How long the end waits for a free replication slot, and between two tries; milliseconds. */
const roomPatience = 10 * 60_000
const roomDelay = 1000

/** A slot that ends with its connection, and the rows that are there where its stream begins. */
export interface BackfillSlot {
  /** The stream has everything that commits from here on, the snapshot all that committed before. */
  readonly consistentPoint: Lsn
  /** Stands until close(). */
  readonly snapshotId: string
  /**
   * Makes a lasting slot of this name that begins at the consistent point, over a connection of its own: an error on that
   * of a temporary slot ends the slot. While all are taken it waits, for 10 minutes. Rejects with a BridgeError.
   */
  persist(client: PostgresClient, name: string): Promise<void>
  /** Ends the connection, and the slot with it. Never rejects. */
  close(): Promise<void>
}

export interface BackfillSlotOptions {
  readonly url: string
  /** Milliseconds. */
  readonly connectTimeout: number
  /** The live slot's name, of which this one's is made. */
  readonly slot: string
  readonly plugin: 'pgoutput' | 'wal2json'
  /** As `server_version_num`: 150020 is 15.20. */
  readonly serverVersion: number
  /** Tells the operator why it takes so long. */
  readonly notice: (text: string) => void
  /** Called at most once when the connection breaks before close(): the slot is gone then. */
  readonly onLost: (error: BridgeError) => void
}

export function backfillSlotName(slot: string): string {
  return slotNameFor(slot, '_backfill')
}

/**
 * Creates the slot, which waits for older write transactions to end. A crash leaves nothing behind: the slot is temporary.
 * Rejects with a BridgeError.
 * Source: PostgreSQL documentation, "Streaming Replication Protocol", CREATE_REPLICATION_SLOT.
 */
export async function openBackfillSlot(options: BackfillSlotOptions): Promise<BackfillSlot> {
  const { url, connectTimeout, slot, onLost } = options
  const name = backfillSlotName(slot)
  const base = { connectionTimeoutMillis: connectTimeout, ...clientConfigFromUrl(url) }
  const { config, socket } = replicationConfig(withoutTimeouts(base), {})
  const replication = { ...config, application_name: 'wal2rabbit backfill', replication: 'database' }
  const client = new pg.Client(replication)
  let watched = false
  let lost: BridgeError | undefined
  client.on('error', (error) => {
    if (!watched) return
    watched = false
    lost = toSourceError(error, { doing: `keeping slot ${name}` })
    onLost(lost)
  })
  try {
    await client.connect()
    const created = await createTemporary(client, name, options)
    watched = true
    return {
      ...created,
      async persist(control, to) {
        try {
          await copyWhenFree(control, { from: name, to }, options.notice)
        } catch (error) {
          throw lost ?? toSourceError(error, { doing: `making slot ${to} of slot ${name}` })
        }
      },
      async close() {
        watched = false
        await endWithin(client, socket)
      },
    }
  } catch (error) {
    socket.destroy()
    throw toSourceError(error, { doing: `creating slot ${name}` })
  }
}

/** What was published would else have to be published again, for a slot that somebody took meanwhile. */
async function copyWhenFree(
  client: PostgresClient,
  { from, to }: { readonly from: string; readonly to: string },
  notice: (text: string) => void,
): Promise<void> {
  const deadline = performance.now() + roomPatience
  for (let isSaid = false; ; isSaid = true) {
    try {
      await copySlot(client, from, to)
      return
    } catch (error) {
      // All of max_replication_slots are taken.
      const mayPass = (error as { code?: unknown }).code === '53400' && performance.now() < deadline
      if (!mayPass) throw error
      if (!isSaid) {
        notice(
          `all rows are published, but no replication slot is free for ${to}: drop one that nobody needs; it is tried again for ${roomPatience / 60_000} minutes`,
        )
      }
    }
    await new Promise((resolve) => setTimeout(resolve, roomDelay))
  }
}

/** The connection is idle while the rows are published, and creating the slot may have to wait. */
function withoutTimeouts(connection: pg.ClientConfig): pg.ClientConfig {
  const { statement_timeout, query_timeout, lock_timeout, idle_in_transaction_session_timeout, ...rest } = connection
  const off =
    '-c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0 -c idle_session_timeout=0'
  return { ...rest, options: rest.options === undefined ? off : `${rest.options} ${off}` }
}

async function createTemporary(client: pg.Client, name: string, { plugin, serverVersion }: BackfillSlotOptions) {
  const exporting = serverVersion >= 150_000 ? "(SNAPSHOT 'export')" : 'EXPORT_SNAPSHOT'
  const text = `CREATE_REPLICATION_SLOT ${quoteIdent(name)} TEMPORARY LOGICAL ${quoteIdent(plugin)} ${exporting}`
  for (let attempt = 0; ; attempt++) {
    try {
      const { rows } = await client.query<Record<string, unknown>>(text)
      const { consistent_point, snapshot_name } = rows[0] ?? {}
      assert(typeof snapshot_name === 'string', () => `slot ${name} came without a snapshot`)
      return { consistentPoint: parseLsn(String(consistent_point)), snapshotId: snapshot_name }
    } catch (error) {
      const taken = (error as { code?: unknown }).code === '42710'
      if (!taken || !(await isTemporary(client, name))) throw error
      if (attempt >= retries_max) {
        throw new BridgeError('BACKFILL_REFUSED', `another process backfills: slot ${name} is in use`, { cause: error })
      }
      // The server needs a moment to notice that a process is gone.
      await new Promise((resolve) => setTimeout(resolve, retryDelay))
    }
  }
}

async function isTemporary(client: pg.Client, name: string): Promise<boolean> {
  const text = `SELECT temporary FROM pg_replication_slots WHERE slot_name = ${quoteLiteral(name)}`
  const { rows } = await client.query<{ temporary: boolean }>(text)
  return rows[0]?.temporary ?? true
}

async function endWithin(client: pg.Client, socket: Socket): Promise<void> {
  const timer = setTimeout(() => socket.destroy(), 2000)
  await client.end()
  clearTimeout(timer)
  socket.destroy()
}
