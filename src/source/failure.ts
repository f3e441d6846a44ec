import { BridgeError, type ErrorCode } from '../base/errors.ts'

/** What a pg DatabaseError, a node socket error or a TLS error carries; any of it may be missing. */
interface Failure {
  readonly message: string
  readonly code: string
  readonly detail: string
  readonly hint: string
  readonly routine: string
}

/** SQLSTATE → code, where it alone decides. Source: PostgreSQL documentation, appendix A. */
const sqlStates: Readonly<Record<string, ErrorCode>> = {
  '55006': 'SLOT_ACTIVE',
  '42501': 'SOURCE_PERMISSION_DENIED',
  '28000': 'SOURCE_AUTH_FAILED',
  '28P01': 'SOURCE_AUTH_FAILED',
  '3D000': 'SOURCE_DATABASE_MISSING',
  '53300': 'SOURCE_TOO_MANY_CONNECTIONS',
  '53400': 'SOURCE_TOO_MANY_CONNECTIONS', // all replication slots are in use
  '57P01': 'SOURCE_SHUTTING_DOWN',
  '57P02': 'SOURCE_SHUTTING_DOWN',
  '57P03': 'SOURCE_SHUTTING_DOWN',
  '57P04': 'SOURCE_DATABASE_MISSING',
  '57P05': 'SOURCE_CONNECTION_LOST',
  '57014': 'SOURCE_CONNECTION_LOST',
  '55P03': 'SOURCE_CONNECTION_LOST',
  '40001': 'SOURCE_CONNECTION_LOST',
  '40P01': 'SOURCE_CONNECTION_LOST',
  '25P03': 'SOURCE_CONNECTION_LOST',
  '25P04': 'SOURCE_CONNECTION_LOST',
  '25006': 'SOURCE_IN_RECOVERY',
  '53000': 'SOURCE_OUT_OF_RESOURCES',
  '53100': 'SOURCE_OUT_OF_RESOURCES',
  '53200': 'SOURCE_OUT_OF_RESOURCES',
  '58000': 'SOURCE_SERVER_FAILED',
  '58030': 'SOURCE_OUT_OF_RESOURCES',
  XX000: 'SOURCE_SERVER_FAILED',
  XX001: 'SOURCE_SERVER_FAILED',
  XX002: 'SOURCE_SERVER_FAILED',
  '54000': 'SOURCE_SERVER_FAILED',
}

const unreachable =
  /^(ECONNREFUSED|ENOTFOUND|EAI_\w+|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|EHOSTDOWN|ENETDOWN|EADDRNOTAVAIL|ENOENT|EACCES|EMFILE|ENFILE)$/
const lost = /^(ECONNRESET|EPIPE|ECONNABORTED|ENOTCONN|ERR_STREAM_\w+|ERR_SOCKET_\w+|08\w{3})$/
const tls =
  /^(ERR_TLS_|ERR_SSL_|ERR_OSSL_|CERT_|CRL_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|INVALID_CA$|INVALID_PURPOSE$|HOSTNAME_MISMATCH$|EPROTO$)/

/** statement_timeout and lock_timeout. */
const timedOut = /^(57014|55P03)$/
/** What CheckpointStore says it is doing: there a timeout is a lock far more often than a slow network. */
const writesCheckpoint = /^(storing|claiming|writing|pruning) the checkpoint/

/**
 * Wraps an error of the PostgreSQL side, of a replication connection or a plain one. `doing` begins the message, for
 * example `reading the checkpoint`. A BridgeError stays itself; what is not known becomes UNKNOWN, which halts.
 */
export function toSourceError(error: unknown, context: { readonly doing: string }): BridgeError {
  if (error instanceof BridgeError) return error
  const failure = readFailure(error)
  const parts = [
    failure.message,
    failure.detail && `detail: ${failure.detail}`,
    failure.hint && `hint: ${failure.hint}`,
  ]
  const state = /^[0-9A-Z]{5}$/.test(failure.code) ? ` (SQLSTATE ${failure.code})` : ''
  const text = `${context.doing} failed${state}: ${parts.filter(Boolean).join('; ')}`
  if (timedOut.test(failure.code) && writesCheckpoint.test(context.doing)) {
    const hint = 'another session probably locks the row or the table (see pg_locks)'
    return new BridgeError('CHECKPOINT_STORE_FAILED', `${text}; ${hint}`, { cause: error })
  }
  return new BridgeError(classify(failure), text, { cause: error })
}

/**
 * From version 18 PostgreSQL only warns when the publication is missing, and leaves its changes out: that would be a
 * silent loss. The C function is told apart rather than the message, which may be translated.
 */
export function noticeFailure(notice: unknown): BridgeError | undefined {
  const failure = readFailure(notice)
  if (failure.routine !== 'LoadPublications' && !/skipped loading publication/.test(failure.message)) return undefined
  return new BridgeError('PUBLICATION_MISSING', `PostgreSQL leaves changes out: ${failure.message}`)
}

function classify(failure: Failure): ErrorCode {
  const { code, message, detail, hint, routine } = failure
  const said = `${message} ${detail}`
  switch (code) {
    case '42704':
      return /publication/i.test(said) || /publication/i.test(routine)
        ? 'PUBLICATION_MISSING'
        : missingObject(said, routine)
    case '55000':
      return prerequisite(said)
    case '58P01':
      if (/WAL segment/i.test(said)) return 'SLOT_INVALIDATED'
      return routine === 'internal_load_library' || /could not access file/.test(said)
        ? 'SOURCE_PLUGIN_MISSING'
        : 'SOURCE_SERVER_FAILED'
    case '42501':
      // Since 15.19, 16.15, 17.11 and 18.6 a plugin must be listed there; the name of a setting is never translated.
      return /output plugin|output_plugin_libraries/.test(`${said} ${hint}`)
        ? 'SOURCE_PLUGIN_MISSING'
        : 'SOURCE_PERMISSION_DENIED'
    case '42P01':
    case '3F000':
      // Names are never translated. A view or function of the application may lack a relation of its own.
      return /["»«„“'’‘]wal2rabbit["»«„“'’‘.]/.test(message) ? 'SCHEMA_MISSING' : 'UNKNOWN'
    case '42883':
    case '22023':
      return /output plugin|option "/.test(said) ? 'SOURCE_PLUGIN_MISSING' : 'UNKNOWN'
    case '0A000':
      return /recovery|standby/i.test(said) ? 'SOURCE_IN_RECOVERY' : 'UNKNOWN'
  }
  const known = sqlStates[code]
  if (known !== undefined) return known
  if (unreachable.test(code)) return 'SOURCE_UNREACHABLE'
  if (lost.test(code)) return 'SOURCE_CONNECTION_LOST'
  if (tls.test(code)) return 'SOURCE_TLS_FAILED'
  return byMessage(message)
}

function missingObject(said: string, routine: string): ErrorCode {
  return /replication slot/.test(said) || /ReplicationSlot/.test(routine) ? 'SLOT_MISSING' : 'UNKNOWN'
}

/** 55000, object_not_in_prerequisite_state. */
function prerequisite(said: string): ErrorCode {
  // Of pg_copy_logical_replication_slot: its source moved meanwhile, or is being made.
  if (/could not copy replication slot|copy unfinished/.test(said)) return 'SOURCE_CONNECTION_LOST'
  if (
    /can no longer|cannot read from|invalidated|reserve WAL|max_slot_wal_keep_size|exceeded the maximum reserved/.test(
      said,
    )
  ) {
    return 'SLOT_INVALIDATED'
  }
  if (/not created in this database/.test(said)) return 'SLOT_WRONG_DATABASE'
  if (/physical replication slot/.test(said)) return 'SLOT_WRONG_PLUGIN'
  if (/wal_level/.test(said)) return 'SOURCE_WAL_LEVEL'
  if (/recovery/.test(said)) return 'SOURCE_IN_RECOVERY'
  return 'UNKNOWN'
}

/** Errors of the driver itself carry no code. */
function byMessage(message: string): ErrorCode {
  if (/does not support SSL connections/.test(message)) return 'SOURCE_TLS_FAILED'
  if (/^SASL|client password must be|Password must be/i.test(message)) return 'SOURCE_AUTH_FAILED'
  if (/^timeout e|establishing an SSL connection/.test(message)) return 'SOURCE_UNREACHABLE'
  if (/^Connection terminated|not queryable|Query read timeout|socket has been ended/.test(message)) {
    return 'SOURCE_CONNECTION_LOST'
  }
  return 'UNKNOWN'
}

function readFailure(error: unknown): Failure {
  const fields = (typeof error === 'object' && error !== null ? error : {}) as Record<string, unknown>
  const text = (value: unknown) => (typeof value === 'string' ? value : '')
  // Several addresses of one host: node reports them together, without a message.
  const inner = error instanceof AggregateError ? error.errors.map((one) => readFailure(one).message).join(', ') : ''
  return {
    message: text(fields.message) || inner || text(fields.code) || String(error),
    code: text(fields.code),
    detail: text(fields.detail),
    hint: text(fields.hint),
    routine: text(fields.routine),
  }
}
