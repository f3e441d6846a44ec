import { expect, test } from 'vitest'
import { BridgeError } from '../../src/base/errors.ts'
import { brokerReply, connectFailure, connectionLost, topologyFailure } from '../../src/sink/failure.ts'

const endpoint = 'amqp://broker:5672/shop'
const coded = (code: string | number, message: string) => Object.assign(new Error(message), { code })
const closed = (code: number, name: string, text: string) =>
  coded(code, `Channel closed by server: ${code} (${name}) with message "${text}"`)

// The texts are amqplib 2.3.1's and RabbitMQ 3.10's, as seen.
test.each([
  [
    'SINK_AUTH_FAILED',
    new Error(
      'Handshake terminated by server: 403 (ACCESS-REFUSED) with message "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN."',
    ),
  ],
  ['SINK_AUTH_FAILED', new Error('Expected ConnectionOpenOk; got <ConnectionClose channel:0>')],
  ['SINK_AUTH_FAILED', new Error('SASL mechanism PLAIN is not provided by the server')],
  ['SINK_UNREACHABLE', new Error('Handshake terminated by server: 320 (CONNECTION-FORCED) with message "shutdown"')],
  ['SINK_UNKNOWN', new Error('Handshake terminated by server: 541 (INTERNAL-ERROR) with message "INTERNAL_ERROR"')],
  ['SINK_UNREACHABLE', coded('ECONNREFUSED', 'connect ECONNREFUSED 127.0.0.1:1')],
  ['SINK_UNREACHABLE', coded('ENOTFOUND', 'getaddrinfo ENOTFOUND broker')],
  ['SINK_UNREACHABLE', coded('ECONNRESET', 'Client network socket disconnected before secure TLS connection')],
  ['SINK_UNREACHABLE', coded('ABORT_ERR', 'The operation was aborted')],
  ['SINK_UNREACHABLE', new Error('ETIMEDOUT after 10000 ms')],
  ['SINK_UNREACHABLE', new Error('Socket closed abruptly during opening handshake')],
  ['SINK_TLS_FAILED', coded('SELF_SIGNED_CERT_IN_CHAIN', 'self-signed certificate in certificate chain')],
  ['SINK_TLS_FAILED', coded('CERT_HAS_EXPIRED', 'certificate has expired')],
  ['SINK_TLS_FAILED', coded('UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'unable to verify the first certificate')],
  ['SINK_TLS_FAILED', coded('ERR_TLS_CERT_ALTNAME_INVALID', "Hostname/IP does not match certificate's altnames")],
  ['SINK_TLS_FAILED', coded('ERR_SSL_WRONG_VERSION_NUMBER', 'wrong version number')],
  ['SINK_TLS_FAILED', coded('ERR_OSSL_PEM_NO_START_LINE', 'no start line')],
  ['SINK_UNKNOWN', new Error('something nobody has seen')],
  ['SINK_UNKNOWN', 'not even an error'],
])('%s when connecting fails with %s', (code, cause) => {
  const error = connectFailure(cause, endpoint)
  expect(error).toMatchObject({ code, cause })
  expect(error.message).toContain(`cannot connect to ${endpoint}: `)
})

test('a refused vhost is named, and what may be wrong with it', () => {
  const cause = new Error('Expected ConnectionOpenOk; got <ConnectionClose channel:0>')
  expect(connectFailure(cause, endpoint).message).toBe(
    'cannot connect to amqp://broker:5672/shop: the broker refused the vhost "shop": it does not exist, the user has no permission on it, or its connection limit is reached',
  )
  expect(connectFailure(cause, 'amqp://broker:5672').message).toContain('the vhost "/"')
})

test('a failed connect to several addresses tells each', () => {
  const cause = new AggregateError([new Error('connect ECONNREFUSED ::1'), new Error('connect ECONNREFUSED 127.0.0.1')])
  Object.assign(cause, { code: 'ECONNREFUSED' })
  expect(connectFailure(cause, endpoint).message).toContain('connect ECONNREFUSED ::1; connect ECONNREFUSED 127.0.0.1')
})

test('an error that has a code of ours keeps it', () => {
  const error = new BridgeError('SINK_TOPOLOGY', 'x')
  expect(connectFailure(error, endpoint)).toBe(error)
  expect(connectionLost(error, endpoint)).toBe(error)
})

test('the reply of the broker is read from a closed channel and from nothing else', () => {
  expect(brokerReply(closed(404, 'NOT-FOUND', `NOT_FOUND - no exchange 'a "b"' in vhost '/'`))).toEqual({
    code: 404,
    text: `NOT_FOUND - no exchange 'a "b"' in vhost '/'`,
  })
  expect(brokerReply(new Error('Heartbeat timeout'))).toBeUndefined()
  expect(brokerReply(undefined)).toBeUndefined()
})

test('a lost connection tells what the broker said, or what happened', () => {
  const forced = coded(320, 'Connection closed: 320 (CONNECTION-FORCED) with message "CONNECTION_FORCED - bye"')
  expect(connectionLost(forced, endpoint).message).toBe(
    'connection to amqp://broker:5672/shop lost: 320 CONNECTION_FORCED - bye',
  )
  expect(connectionLost(new Error('Heartbeat timeout'), endpoint).message).toContain('lost: Heartbeat timeout')
  expect(connectionLost(undefined, endpoint).message).toContain('lost: closed without a reason')
})

test.each([
  ['SINK_EXCHANGE_MISSING', 404, 'exchange "outbox"'],
  ['SINK_TOPOLOGY', 404, 'queue "orders"'],
  ['SINK_PERMISSION_DENIED', 403, 'queue "orders"'],
  ['SINK_TOPOLOGY', 406, 'exchange "outbox"'],
  ['SINK_TOPOLOGY', 405, 'queue "orders"'],
  ['SINK_UNKNOWN', 541, 'queue "orders"'],
])('%s for %i on %s', (code, reply, what) => {
  const error = topologyFailure(closed(reply, 'NAME', 'why'), what, endpoint)
  expect(error.code).toBe(code)
  expect(error.message).toBe(`${what} on ${endpoint}: ${reply} why`)
})

test('a connection that is lost while declaring is no fault of the topology', () => {
  expect(topologyFailure(new Error('Channel ended'), 'queue "orders"', endpoint).code).toBe('SINK_CONNECTION_LOST')
})
