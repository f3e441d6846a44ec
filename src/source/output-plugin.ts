import type { Client } from 'pg'
import type { LogicalReplicationService } from 'pg-logical-replication'
import { BridgeError } from '../base/errors.ts'
import { failPoint } from '../base/fail-point.ts'
import { formatLsn, type Lsn, parseLsn } from '../base/lsn.ts'
import { quoteIdent, quoteLiteral } from '../base/sql.ts'
import type { WalDecoder } from './wal-decoder.ts'

/** What pg-logical-replication takes as a plugin (its AbstractPlugin, which it does not export). */
type LibraryPlugin = Parameters<LogicalReplicationService['subscribe']>[0]

/** What the walsender's own session says, just before it begins to stream. */
export interface WalsenderFacts {
  readonly pid: number
  /** Milliseconds; 0 means that it never gives up on us. */
  readonly walSenderTimeout: number
  readonly serverEncoding: string
}

export interface OutputPluginHandlers {
  /** Throws to refuse; the stream is not started then. */
  onConnected(client: Client, facts: WalsenderFacts): void
  /** Called for each XLogData message, with bytes that are only valid during the call. Must not throw. */
  onPayload(payload: Buffer): void
}

/** The library's view of a decoder: starts the stream, and gives each payload away as it comes. */
export class OutputPlugin implements LibraryPlugin {
  readonly options: WalDecoder['options']
  readonly name: string
  readonly #handlers: OutputPluginHandlers
  readonly #copyOf: string | undefined

  /** `copyOf`: the slot that is streamed from is made first, as a temporary copy of this one. */
  constructor(decoder: WalDecoder, handlers: OutputPluginHandlers, copyOf?: string) {
    this.#copyOf = copyOf
    this.options = decoder.options
    this.name = decoder.plugin
    this.#handlers = handlers
  }

  /** Settles when the stream is over. */
  async start(client: Client, slot: string, lsn: string): Promise<unknown> {
    if (this.#copyOf !== undefined) await copyTemporarily(client, this.#copyOf, slot, this.name, parseLsn(lsn))
    this.#handlers.onConnected(client, await readFacts(client))
    failPoint('subscribing')
    return client.query(startReplication(slot, parseLsn(lsn), this.options))
  }

  /** Called inside of a socket listener. What it returns would be emitted as `data`: nobody listens. */
  parse(payload: Buffer): undefined {
    this.#handlers.onPayload(payload)
  }
}

/**
 * The replication command. Its grammar knows no E'' strings: a backslash stands for itself.
 * Source: https://www.postgresql.org/docs/current/protocol-replication.html, and repl_scanner.l of PostgreSQL.
 */
export function startReplication(slot: string, lsn: Lsn, options: WalDecoder['options']): string {
  const list = options.map(([name, value]) => `${quoteIdent(name)} '${value.replaceAll("'", "''")}'`).join(', ')
  return `START_REPLICATION SLOT ${quoteIdent(slot)} LOGICAL ${formatLsn(lsn)} (${list})`
}

/**
 * A temporary slot belongs to the connection that made it, and goes with it. From below the position of the copy PostgreSQL
 * would start at that position, without a word: so the copy itself is asked where it stands. It decodes with `plugin`,
 * whatever the other one was made for: an anchor may be older than a change of source.plugin.
 */
async function copyTemporarily(client: Client, from: string, to: string, plugin: string, start: Lsn): Promise<void> {
  const names = `${quoteLiteral(from)}, ${quoteLiteral(to)}`
  const { rows } = await client.query<{ lsn: string }>(
    `SELECT lsn::text AS lsn FROM pg_copy_logical_replication_slot(${names}, true, ${quoteLiteral(plugin)})`,
  )
  const stands = parseLsn(rows[0]!.lsn)
  if (stands <= start) return
  throw new BridgeError(
    'REPLAY_OUT_OF_REACH',
    `slot ${from} stands at ${formatLsn(stands)}, expected one at or below ${formatLsn(start)}: what lies between would be skipped`,
  )
}

/** One round trip; a walsender takes plain SQL, but only as a simple query (no parameters). */
async function readFacts(client: Client): Promise<WalsenderFacts> {
  const { rows } = await client.query<Record<string, unknown>>(`
    SELECT pg_backend_pid() AS pid,
      (SELECT setting FROM pg_settings WHERE name = 'wal_sender_timeout') AS wal_sender_timeout,
      current_setting('server_encoding') AS server_encoding`)
  const row = rows[0]!
  return {
    pid: Number(row.pid),
    walSenderTimeout: Number(row.wal_sender_timeout),
    serverEncoding: String(row.server_encoding),
  }
}
