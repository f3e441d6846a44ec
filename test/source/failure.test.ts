import { expect, test } from 'vitest'
import { BridgeError } from '../../src/base/errors.ts'
import { noticeFailure, toSourceError } from '../../src/source/failure.ts'

const failure = (code: string | undefined, message: string, more: Record<string, string> = {}) =>
  Object.assign(new Error(message), code === undefined ? more : { code, ...more })

test.each([
  ['55006', 'replication slot "s" is active for PID 1', 'SLOT_ACTIVE'],
  ['42704', 'replication slot "s" does not exist', 'SLOT_MISSING'],
  ['42704', 'publication "p" does not exist', 'PUBLICATION_MISSING'],
  ['42704', 'type "t" does not exist', 'UNKNOWN'],
  ['55000', 'can no longer get changes from replication slot "s"', 'SLOT_INVALIDATED'],
  ['55000', 'cannot read from logical replication slot "s"', 'SLOT_INVALIDATED'],
  ['55000', 'can no longer access replication slot "s"', 'SLOT_INVALIDATED'],
  ['58P01', 'requested WAL segment 00000001000000000000000A has already been removed', 'SLOT_INVALIDATED'],
  ['55000', 'replication slot "s" was not created in this database', 'SLOT_WRONG_DATABASE'],
  ['55000', 'cannot use physical replication slot for logical decoding', 'SLOT_WRONG_PLUGIN'],
  ['55000', 'logical decoding requires wal_level >= logical', 'SOURCE_WAL_LEVEL'],
  ['58P01', 'could not access file "wal2json": No such file or directory', 'SOURCE_PLUGIN_MISSING'],
  ['42501', 'library "wal2json" may not be used as an output plugin', 'SOURCE_PLUGIN_MISSING'],
  ['42501', 'must be superuser or replication role to start walsender', 'SOURCE_PERMISSION_DENIED'],
  ['42501', 'permission denied for table outbox', 'SOURCE_PERMISSION_DENIED'],
  ['28P01', 'password authentication failed for user "u"', 'SOURCE_AUTH_FAILED'],
  ['28000', 'no pg_hba.conf entry for replication connection', 'SOURCE_AUTH_FAILED'],
  ['3D000', 'database "d" does not exist', 'SOURCE_DATABASE_MISSING'],
  ['53300', 'number of requested standby connections exceeds max_wal_senders', 'SOURCE_TOO_MANY_CONNECTIONS'],
  ['57P01', 'terminating connection due to administrator command', 'SOURCE_SHUTTING_DOWN'],
  ['57P02', 'terminating connection because of crash of another server process', 'SOURCE_SHUTTING_DOWN'],
  ['57P03', 'the database system is starting up', 'SOURCE_SHUTTING_DOWN'],
  ['25006', 'cannot execute INSERT in a read-only transaction', 'SOURCE_IN_RECOVERY'],
  ['0A000', 'logical decoding cannot be used while in recovery', 'SOURCE_IN_RECOVERY'],
  ['XX000', 'invalid memory alloc request size 1073741824', 'SOURCE_SERVER_FAILED'],
  ['53100', 'could not extend file: No space left on device', 'SOURCE_OUT_OF_RESOURCES'],
  ['08006', 'connection failure', 'SOURCE_CONNECTION_LOST'],
  ['57014', 'canceling statement due to user request', 'SOURCE_CONNECTION_LOST'],
  ['ECONNREFUSED', 'connect ECONNREFUSED 127.0.0.1:1', 'SOURCE_UNREACHABLE'],
  ['ENOTFOUND', 'getaddrinfo ENOTFOUND db', 'SOURCE_UNREACHABLE'],
  ['EAI_AGAIN', 'getaddrinfo EAI_AGAIN db', 'SOURCE_UNREACHABLE'],
  ['ETIMEDOUT', 'connect ETIMEDOUT', 'SOURCE_UNREACHABLE'],
  ['EMFILE', 'too many open files', 'SOURCE_UNREACHABLE'],
  [undefined, 'timeout expired', 'SOURCE_UNREACHABLE'],
  ['ECONNRESET', 'read ECONNRESET', 'SOURCE_CONNECTION_LOST'],
  ['EPIPE', 'write EPIPE', 'SOURCE_CONNECTION_LOST'],
  [undefined, 'Connection terminated unexpectedly', 'SOURCE_CONNECTION_LOST'],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', 'self-signed certificate', 'SOURCE_TLS_FAILED'],
  ['SELF_SIGNED_CERT_IN_CHAIN', 'self-signed certificate in certificate chain', 'SOURCE_TLS_FAILED'],
  ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'unable to verify the first certificate', 'SOURCE_TLS_FAILED'],
  ['CERT_HAS_EXPIRED', 'certificate has expired', 'SOURCE_TLS_FAILED'],
  ['ERR_TLS_CERT_ALTNAME_INVALID', "Hostname/IP does not match certificate's altnames", 'SOURCE_TLS_FAILED'],
  [undefined, 'The server does not support SSL connections', 'SOURCE_TLS_FAILED'],
  [undefined, 'SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must be a string', 'SOURCE_AUTH_FAILED'],
  ['42P01', 'relation "wal2rabbit.checkpoint" does not exist', 'SCHEMA_MISSING'],
  ['42P01', 'Relation »wal2rabbit.checkpoint« existiert nicht', 'SCHEMA_MISSING'],
  ['3F000', 'schema "wal2rabbit" does not exist', 'SCHEMA_MISSING'],
  ['42P01', 'relation "public.outbox" does not exist', 'UNKNOWN'],
  ['42P01', 'relation "public.wal2rabbit" does not exist', 'UNKNOWN'],
  ['42601', 'syntax error at or near "x"', 'UNKNOWN'],
])('%s %s is %s', (code, message, expected) => {
  expect(toSourceError(failure(code, message), { doing: 'x' }).code).toBe(expected)
})

test('a translated message is told apart by the C function that raised it', () => {
  const slot = failure('42704', 'Replikations-Slot »s« existiert nicht', { routine: 'ReplicationSlotAcquire' })
  const publication = failure('42704', 'Publikation »p« existiert nicht', { routine: 'get_publication_oid' })
  expect(toSourceError(slot, { doing: 'x' }).code).toBe('SLOT_MISSING')
  expect(toSourceError(publication, { doing: 'x' }).code).toBe('PUBLICATION_MISSING')
})

test('the message says what was being done, the SQLSTATE, detail and hint, and keeps the cause', () => {
  const cause = failure('55000', 'cannot read', { detail: 'it is lost', hint: 'make another' })
  const error = toSourceError(cause, { doing: 'starting to stream from slot s' })
  expect(error.message).toBe(
    'starting to stream from slot s failed (SQLSTATE 55000): cannot read; detail: it is lost; hint: make another',
  )
  expect(error.cause).toBe(cause)
})

test.each(['57014', '55P03'])(
  '%s while the checkpoint is written is a lock on it, elsewhere a lost connection',
  (code) => {
    const cause = failure(code, 'canceling statement due to statement timeout')
    for (const doing of ['storing the checkpoint', 'claiming the checkpoint', 'pruning the checkpoint history']) {
      expect(toSourceError(cause, { doing })).toMatchObject({
        code: 'CHECKPOINT_STORE_FAILED',
        message: expect.stringContaining('locks the row'),
        cause,
      })
    }
    expect(toSourceError(cause, { doing: 'reading the checkpoint' }).code).toBe('SOURCE_CONNECTION_LOST')
  },
)

test('a host of several addresses is described by each of its failures', () => {
  const cause = new AggregateError([failure('ECONNREFUSED', 'connect ECONNREFUSED ::1:1')], '')
  const error = toSourceError(Object.assign(cause, { code: 'ECONNREFUSED' }), { doing: 'connecting' })
  expect(error.code).toBe('SOURCE_UNREACHABLE')
  expect(error.message).toContain('::1:1')
})

test('a BridgeError stays itself, anything that is no error becomes UNKNOWN', () => {
  const known = new BridgeError('SLOT_AHEAD', 'm')
  expect(toSourceError(known, { doing: 'x' })).toBe(known)
  expect(toSourceError('odd', { doing: 'x' })).toMatchObject({ code: 'UNKNOWN', message: 'x failed: odd' })
})

test('the warning of PostgreSQL 18 that it leaves out a missing publication is a failure, other notices are none', () => {
  const warning = failure('55000', 'skipped loading publication "p"')
  expect(noticeFailure(warning)?.code).toBe('PUBLICATION_MISSING')
  expect(noticeFailure(failure('55000', 'übersprungen', { routine: 'LoadPublications' }))?.code).toBe(
    'PUBLICATION_MISSING',
  )
  expect(noticeFailure(failure('00000', 'table "t" does not exist, skipping'))).toBeUndefined()
})
