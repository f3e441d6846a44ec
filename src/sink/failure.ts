import { BridgeError, type ErrorCode } from '../base/errors.ts'

/** What the broker said when it closed a channel or a connection: `404`, `NOT_FOUND - no exchange 'x' in vhost '/'`. */
export interface BrokerReply {
  readonly code: number
  readonly text: string
}

/** Certificate errors that OpenSSL names without a common prefix; the others start with CERT_, UNABLE_TO_ or ERR_. */
const certificateErrors = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'HOSTNAME_MISMATCH',
  'INVALID_CA',
  'INVALID_PURPOSE',
  'PATH_LENGTH_EXCEEDED',
  'CRL_HAS_EXPIRED',
  'EPROTO',
])

const networkErrors = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'EHOSTDOWN',
  'ENETUNREACH',
  'EADDRNOTAVAIL',
  'EPIPE',
  'ENOENT',
  'EMFILE',
  'ABORT_ERR',
])

/**
 * The broker's own close code and text, if this error carries them. amqplib puts the code on the error of a closed
 * channel or connection, and only into the text of a refused login.
 * Source: https://www.rabbitmq.com/amqp-0-9-1-reference#constants
 */
export function brokerReply(error: unknown): BrokerReply | undefined {
  const { code, message } = describe(error)
  const text = /with message "([\s\S]*)"$/.exec(message)?.[1]
  if (text === undefined) return undefined
  const inText = /: (\d{3}) \(/.exec(message)?.[1]
  const number = typeof code === 'number' ? code : Number(inText)
  return Number.isInteger(number) ? { code: number, text } : undefined
}

/**
 * Whether a refused access is about the routing key alone: topic permissions are looked at after the exchange's own.
 * Source: https://www.rabbitmq.com/docs/access-control#topic-authorisation
 */
export function refusesTopic(reply: BrokerReply | undefined): boolean {
  return reply?.code === 403 && reply.text.includes('access to topic ')
}

/** Why no connection came about. `endpoint` names the broker without user and password. */
export function connectFailure(error: unknown, endpoint: string): BridgeError {
  if (error instanceof BridgeError) return error
  const [code, reason] = classifyConnect(error, endpoint)
  return new BridgeError(code, `cannot connect to ${endpoint}: ${reason}`, { cause: error })
}

function classifyConnect(error: unknown, endpoint: string): [ErrorCode, string] {
  const reply = brokerReply(error)
  if (reply !== undefined) {
    // 403 ACCESS_REFUSED is the login; 530 NOT_ALLOWED the vhost. 320: the broker is shutting down.
    if (reply.code === 403 || reply.code === 530) return ['SINK_AUTH_FAILED', `${reply.code} ${reply.text}`]
    return [reply.code === 320 ? 'SINK_UNREACHABLE' : 'SINK_UNKNOWN', `${reply.code} ${reply.text}`]
  }
  const { code, message } = describe(error)
  if (/Expected ConnectionOpenOk; got <ConnectionClose/.test(message)) {
    // amqplib drops the broker's text here; RabbitMQ closes at this point for nothing else than what is listed.
    const vhost = endpoint.split('/')[3] ?? '/'
    return [
      'SINK_AUTH_FAILED',
      `the broker refused the vhost ${JSON.stringify(vhost)}: it does not exist, the user has no permission on it, or its connection limit is reached`,
    ]
  }
  if (message.startsWith('SASL mechanism')) return ['SINK_AUTH_FAILED', message]
  if (typeof code === 'string') {
    if (certificateErrors.has(code) || /^(CERT_|UNABLE_TO_|ERR_TLS_|ERR_SSL_|ERR_OSSL_)/.test(code))
      return ['SINK_TLS_FAILED', `TLS failed (${code}): ${message.trim()}`]
    if (networkErrors.has(code)) return ['SINK_UNREACHABLE', message === '' ? code : message]
  }
  // Without a code: amqplib's words for a server that hangs up, does not speak AMQP, or says nothing.
  if (/closed abruptly|maxFrameSize|Invalid frame|Unknown frame type/.test(message))
    return ['SINK_UNREACHABLE', `${message}; expected an AMQP 0-9-1 broker there`]
  if (/ETIMEDOUT|Heartbeat timeout/.test(message)) return ['SINK_UNREACHABLE', message]
  return ['SINK_UNKNOWN', message]
}

/** A connection or channel that stood and is gone. */
export function connectionLost(error: unknown, endpoint: string): BridgeError {
  if (error instanceof BridgeError) return error
  const reply = brokerReply(error)
  const reason =
    reply === undefined ? describe(error).message || 'closed without a reason' : `${reply.code} ${reply.text}`
  return new BridgeError('SINK_CONNECTION_LOST', `connection to ${endpoint} lost: ${reason}`, { cause: error })
}

/** Why an exchange, queue or binding could not be declared or verified. `what` names it: `queue "orders"`. */
export function topologyFailure(error: unknown, what: string, endpoint: string): BridgeError {
  const reply = brokerReply(error)
  if (reply === undefined) return connectionLost(error, endpoint)
  const code = topologyCode(reply.code, what)
  return new BridgeError(code, `${what} on ${endpoint}: ${reply.code} ${reply.text}`, { cause: error })
}

function topologyCode(replyCode: number, what: string): ErrorCode {
  if (replyCode === 403) return 'SINK_PERMISSION_DENIED'
  if (replyCode === 404 && what.startsWith('exchange')) return 'SINK_EXCHANGE_MISSING'
  // 404 not found, 405 locked by another connection, 406 declared differently, 530 and 540 not allowed or not known.
  return replyCode === 541 ? 'SINK_UNKNOWN' : 'SINK_TOPOLOGY'
}

function describe(error: unknown): { code: unknown; message: string } {
  if (!(error instanceof Error)) return { code: undefined, message: error === undefined ? '' : String(error) }
  const code = (error as { code?: unknown }).code
  // Node's AggregateError of a failed connect (one error for each address) has no message of its own.
  if (error instanceof AggregateError && error.message === '')
    return { code, message: error.errors.map((one) => describe(one).message).join('; ') }
  return { code, message: error.message }
}
