import { BridgeError } from '../base/errors.ts'

/** One broker url taken apart. `endpoint` is for messages: it has neither user nor password. */
export interface BrokerAddress {
  readonly secure: boolean
  readonly host: string
  readonly port: number
  /** Still percent-encoded, as amqplib decodes it; empty means `/`. */
  readonly vhost: string
  readonly username: string
  readonly password: string
  readonly endpoint: string
}

/**
 * Reads `amqp://user:password@host:port/vhost`; user and password default to guest, as in
 * https://www.rabbitmq.com/docs/uri-spec. Throws CONFIG_INVALID without any part that could hold a secret.
 */
export function parseBrokerUrl(text: string): BrokerAddress {
  if (!/^amqps?:\/\//.test(text) || !URL.canParse(text)) {
    // Nothing of the text itself: without a parse nobody knows which part of it is the password.
    throw new BridgeError(
      'CONFIG_INVALID',
      'not a RabbitMQ url (expected amqp://user:password@host:port/vhost or amqps://…)',
    )
  }
  const url = new URL(text)
  const secure = url.protocol === 'amqps:'
  const anonymous = url.username === '' && url.password === ''
  const port = url.port === '' ? (secure ? 5671 : 5672) : Number(url.port)
  return {
    secure,
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port,
    vhost: url.pathname.slice(1),
    username: anonymous ? 'guest' : decode(url.username),
    password: anonymous ? 'guest' : decode(url.password),
    endpoint: `${url.protocol}//${url.hostname}:${port}${url.pathname === '/' ? '' : url.pathname}`,
  }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    // A stray percent sign that is no escape: the text stands for itself.
    return text
  }
}
