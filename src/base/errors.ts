/**
 * What the supervisor does with an error, and nothing else decides it:
 * - `retry`: a new session after a back-off, for ever
 * - `standby`: somebody else streams; wait and take over
 * - `halt`: an operator must act; the process stays up, publishes nothing, and never ends the halt by itself
 * - `halt-retry`: as halt, but looked at again every 30 s and gone on with once it is mended
 * - `dead-letter`: one event cannot be delivered
 * - `usage`: wrong configuration or command line, exit code 2
 * - `bug`: a broken invariant; halts
 */
export type ErrorAction = 'retry' | 'standby' | 'halt' | 'halt-retry' | 'dead-letter' | 'usage' | 'bug'

interface ErrorEntry {
  readonly action: ErrorAction
  readonly remedy: string
}

/** The one table of errors: code → action and the operator's remedy. docs/errors.md is checked against it. */
export const errorTable = {
  // configuration and command line
  CONFIG_INVALID: { action: 'usage', remedy: 'Correct the keys listed; docs/configuration.md describes each.' },
  CONFIG_FILE_UNREADABLE: { action: 'usage', remedy: 'Check the path given with --config and its permissions.' },
  SECRET_UNREADABLE: {
    action: 'halt-retry',
    remedy: 'Check the file named in the …_FILE variable: it must be readable and hold the secret alone.',
  },
  USAGE: { action: 'usage', remedy: 'Run the command with --help.' },

  // PostgreSQL: connection
  SOURCE_UNREACHABLE: {
    action: 'retry',
    remedy: 'Check host, port and network of source.url, and that PostgreSQL runs.',
  },
  SOURCE_CONNECTION_LOST: { action: 'retry', remedy: 'Nothing to do: the bridge reconnects by itself.' },
  SOURCE_SHUTTING_DOWN: { action: 'retry', remedy: 'Nothing to do: the bridge reconnects when PostgreSQL is back.' },
  SOURCE_SILENT: { action: 'retry', remedy: 'Check the network between the bridge and PostgreSQL.' },
  SOURCE_TOO_MANY_CONNECTIONS: {
    action: 'retry',
    remedy: 'Raise max_wal_senders, max_replication_slots or max_connections, or free what is used up.',
  },
  SOURCE_IN_RECOVERY: { action: 'retry', remedy: 'Point source.url at the primary, or promote this server.' },
  SOURCE_AUTH_FAILED: {
    action: 'halt-retry',
    remedy: 'Check user and password of source.url and the pg_hba.conf line for this role (see docs/security.md).',
  },
  SOURCE_DATABASE_MISSING: { action: 'halt-retry', remedy: 'Check the database name in source.url.' },
  SOURCE_PERMISSION_DENIED: {
    action: 'halt-retry',
    remedy: 'Grant what is missing; sql/roles.sql lists the least privileges of the role.',
  },
  SOURCE_TLS_FAILED: {
    action: 'halt-retry',
    remedy: "Check sslmode and sslrootcert in source.url and the server's certificate.",
  },
  SOURCE_WAL_LEVEL: { action: 'halt-retry', remedy: 'Set wal_level = logical and restart PostgreSQL.' },
  SOURCE_VERSION_UNSUPPORTED: { action: 'halt', remedy: 'Use PostgreSQL 14 or newer.' },
  SOURCE_PROTOCOL: {
    action: 'halt',
    remedy: 'Report this with the log: the WAL stream held what the bridge does not know.',
  },
  SOURCE_PLUGIN_MISSING: {
    action: 'halt-retry',
    remedy:
      'Install the output plugin on the server and list it in its setting output_plugin_libraries, where there is one; or set source.plugin to pgoutput.',
  },
  SOURCE_ENCODING: {
    action: 'halt-retry',
    remedy: 'Set source.plugin to pgoutput: wal2json does not convert from the encoding of the database to UTF-8.',
  },
  SOURCE_SERVER_FAILED: {
    action: 'halt-retry',
    remedy: "See the server's log: PostgreSQL itself failed, for example while decoding a row of nearly 1 GB.",
  },
  SOURCE_OUT_OF_RESOURCES: { action: 'retry', remedy: 'Free disk space or memory on the PostgreSQL server.' },
  SOURCE_BACKPRESSURE: {
    action: 'retry',
    remedy: 'Nothing to do: the replication connection is let go while the broker takes no messages.',
  },

  // PostgreSQL: slot, publication, table
  SLOT_ACTIVE: { action: 'standby', remedy: 'Nothing to do: this bridge takes over when the active one is gone.' },
  SLOT_MISSING: {
    action: 'halt',
    remedy:
      'First use: run "wal2rabbit init". Otherwise the slot was dropped and events since the stored LSN may be missing from it: see SLOT_MISSING in docs/runbook.md.',
  },
  SLOT_INVALIDATED: {
    action: 'halt',
    remedy:
      'PostgreSQL discarded WAL that the slot needed (max_slot_wal_keep_size or idle_replication_slot_timeout): see SLOT_INVALIDATED in docs/runbook.md.',
  },
  SLOT_AHEAD: {
    action: 'halt',
    remedy:
      'The slot was re-created or advanced by somebody; events between the stored LSN and the slot would be skipped: see SLOT_AHEAD in docs/runbook.md.',
  },
  SLOT_WRONG_PLUGIN: {
    action: 'halt',
    remedy: 'Use another source.slot, or set source.plugin to the plugin of the slot.',
  },
  SLOT_WRONG_DATABASE: { action: 'halt', remedy: 'Use another source.slot, or the database that the slot belongs to.' },
  SYSTEM_CHANGED: {
    action: 'halt',
    remedy: 'source.url leads to another PostgreSQL cluster than the one the stored LSN belongs to: correct the url.',
  },
  STORED_AHEAD_OF_WAL: {
    action: 'halt',
    remedy:
      "The stored LSN lies beyond the server's WAL (restored or replaced server): see STORED_AHEAD_OF_WAL in docs/runbook.md.",
  },
  TIMELINE_DIVERGED: {
    action: 'halt',
    remedy: 'The server was promoted before the stored LSN reached it: see TIMELINE_DIVERGED in docs/runbook.md.',
  },
  PUBLICATION_MISSING: {
    action: 'halt',
    remedy:
      'Run "wal2rabbit init", then restart the bridge. When rows were inserted meanwhile that is not enough: see PUBLICATION_MISSING in docs/runbook.md.',
  },
  PUBLICATION_INCOMPLETE: {
    action: 'halt',
    remedy:
      'Correct the publication as the message says ("wal2rabbit check" lists it), then restart the bridge. Rows inserted meanwhile are not streamed: see PUBLICATION_INCOMPLETE in docs/runbook.md.',
  },
  TABLE_MISSING: {
    action: 'halt',
    remedy: 'Correct source.table, or run "wal2rabbit init" to create the outbox table.',
  },
  TABLE_NOT_LOGGED: {
    action: 'halt',
    remedy: 'Make it an ordinary table with ALTER TABLE … SET LOGGED: only its rows reach the WAL.',
  },
  TABLE_PARTITIONED: {
    action: 'halt',
    remedy:
      'Set source.plugin to pgoutput, with a slot of its own: wal2json gives rows under the names of the partitions.',
  },
  COLUMN_MISSING: {
    action: 'halt',
    remedy:
      'After a rename list both names, source.columns: { payload: [new, old] }, and restart the bridge; take the old one out once the stream is past it. Otherwise map the column to its present name, or restore it.',
  },
  COLUMN_TYPE: {
    action: 'halt',
    remedy: 'Map a column of a supported type (see docs/configuration.md, source.columns).',
  },

  // bookkeeping
  CHECKPOINT_MISSING: { action: 'halt', remedy: 'Run "wal2rabbit init": it records where the slot stands.' },
  CHECKPOINT_FENCED: { action: 'retry', remedy: 'Nothing to do: another bridge took over this slot.' },
  CHECKPOINT_STORE_FAILED: {
    action: 'retry',
    remedy:
      'Stored again by itself once PostgreSQL can. After a timeout somebody locks the row or the table: end that transaction (see pg_locks).',
  },
  DEAD_LETTER_STORE_FAILED: {
    action: 'halt-retry',
    remedy:
      'Mend what PostgreSQL refuses, as the message says: a grant (see sql/roles.sql), disk space, or a lock that somebody holds (see pg_locks).',
  },
  DEAD_LETTERS_TOO_MANY: {
    action: 'halt-retry',
    remedy: 'Mend why events cannot be delivered, then run "wal2rabbit dead-letters retry --all", or discard them.',
  },
  SCHEMA_MISSING: { action: 'halt-retry', remedy: 'Run "wal2rabbit init".' },
  SCHEMA_OLDER: { action: 'halt-retry', remedy: 'Run "wal2rabbit init" with this version to upgrade the schema.' },
  SCHEMA_NEWER: {
    action: 'halt',
    remedy: 'Run the newer wal2rabbit that upgraded the schema; downgrading is refused.',
  },
  SCHEMA_CHANGED: {
    action: 'halt',
    remedy: 'Files of sql/ are immutable: restore the numbered file of the release that was installed.',
  },

  // replay, rewind, backfill
  POSITION_UNKNOWN: {
    action: 'usage',
    remedy:
      'List stored LSNs and marks with "wal2rabbit checkpoints"; an event must be in the WAL window or in the table.',
  },
  POSITION_AHEAD: {
    action: 'usage',
    remedy:
      'Give a position that is stored already (see "wal2rabbit checkpoints"): what is newer is the live stream\'s to deliver.',
  },
  REPLAY_OUT_OF_REACH: {
    action: 'halt',
    remedy:
      'Start no earlier than the oldest position that the message names; a replay can also use the other source: see REPLAY_OUT_OF_REACH in docs/runbook.md.',
  },
  REPLAY_RUNNING: {
    action: 'usage',
    remedy: 'Let the other process finish or stop it; "wal2rabbit replays" shows how far it is.',
  },
  BRIDGE_RUNNING: {
    action: 'halt',
    remedy: 'Stop the bridge and all of its stand-bys, then run the command again.',
  },
  REWIND_UNFINISHED: {
    action: 'halt-retry',
    remedy: 'Run "wal2rabbit rewind --resume --yes" to finish it: see REWIND_UNFINISHED in docs/runbook.md.',
  },
  SLOT_NAME_TAKEN: {
    action: 'usage',
    remedy:
      'Drop the slot that the message names if nobody needs it any more; otherwise give one of the two bridges another source.slot.',
  },
  BACKFILL_REFUSED: {
    action: 'usage',
    remedy:
      'A backfill is for a slot that does not exist yet; for one that streams use "wal2rabbit replay --source table".',
  },
  BACKFILL_INCOMPLETE: {
    action: 'halt',
    remedy:
      'Run "wal2rabbit init --backfill" again, and no DROP, DETACH or TRUNCATE of partitions meanwhile: see BACKFILL_INCOMPLETE in docs/runbook.md.',
  },

  // RabbitMQ
  SINK_UNREACHABLE: { action: 'retry', remedy: 'Check host, port and network of sink.url, and that RabbitMQ runs.' },
  SINK_CONNECTION_LOST: {
    action: 'retry',
    remedy: 'Nothing to do: the bridge reconnects and sends the unsettled window again.',
  },
  SINK_BLOCKED: {
    action: 'retry',
    remedy: 'Free memory or disk space on RabbitMQ: "rabbitmqctl status" names the alarm. Nothing to do here.',
  },
  SINK_CONFIRM_OVERDUE: { action: 'retry', remedy: 'Check the health and the load of RabbitMQ.' },
  SINK_PROTOCOL: {
    action: 'retry',
    remedy: 'Nothing to do: the channel is replaced and the unsettled window sent again.',
  },
  SINK_AUTH_FAILED: { action: 'halt-retry', remedy: 'Check user, password and vhost of sink.url.' },
  SINK_PERMISSION_DENIED: {
    action: 'halt-retry',
    remedy: 'Give the user write permission on the exchange (and configure permission where topology is declared).',
  },
  SINK_TLS_FAILED: { action: 'halt-retry', remedy: "Check sink.tls and the broker's certificate." },
  SINK_EXCHANGE_MISSING: {
    action: 'halt-retry',
    remedy: 'Run "wal2rabbit init" to create sink.exchange; declare any other exchange in sink.topology.',
  },
  SINK_TOPOLOGY: {
    action: 'halt-retry',
    remedy: 'Make sink.topology agree with what the broker has; in mode verify, create there what is missing.',
  },
  SINK_UNKNOWN: { action: 'retry', remedy: 'See the message of the broker.' },

  // one event that cannot be delivered
  EVENT_UNROUTABLE: { action: 'dead-letter', remedy: 'Bind a queue for the routing key, or set delivery.unroutable.' },
  EVENT_NACKED: {
    action: 'dead-letter',
    remedy: 'See why the queue refuses: a length limit, or an unavailable quorum.',
  },
  EVENT_REFUSED: {
    action: 'dead-letter',
    remedy: "Correct the exchange or the permission that the broker's message names.",
  },
  EVENT_TOO_LARGE: {
    action: 'dead-letter',
    remedy: 'Raise sink.maxMessageSize (and the limit of the broker), or write smaller payloads.',
  },
  EVENT_PARKED: {
    action: 'dead-letter',
    remedy: 'It is delivered in order when the dead letter before it is retried or discarded.',
  },
  EVENT_INVALID: { action: 'dead-letter', remedy: 'Correct the application that writes such rows.' },

  ADMIN_LISTEN_FAILED: { action: 'usage', remedy: 'Choose a free admin.port, or 0 for any.' },
  ASSERTION_FAILED: { action: 'bug', remedy: 'Report this with the log: an invariant of the bridge was broken.' },
  UNKNOWN: {
    action: 'bug',
    remedy: 'Report this with the log: the bridge does not know this error and stops to be safe.',
  },
} as const satisfies Record<string, ErrorEntry>

export type ErrorCode = keyof typeof errorTable

/** Every error that the bridge raises on purpose: a code of the table, what failed with its value, and the cause. */
export class BridgeError extends Error {
  override readonly name = 'BridgeError'
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.code = code
  }

  get action(): ErrorAction {
    return errorTable[this.code].action
  }

  get remedy(): string {
    return errorTable[this.code].remedy
  }
}

/** Wraps whatever was thrown: a BridgeError stays itself, all else becomes UNKNOWN, which halts (fail closed). */
export function toBridgeError(error: unknown): BridgeError {
  if (error instanceof BridgeError) return error
  return new BridgeError('UNKNOWN', error instanceof Error ? error.message : String(error), { cause: error })
}
