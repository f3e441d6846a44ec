import { createHash } from 'node:crypto'

/** What must arrive as it was written, in 16 characters: keeping the bodies of an hour of load would fill the memory. */
export function digestOf(parts: {
  readonly routingKey: string
  readonly type: string
  readonly aggregate: string
  readonly sequence: number
  /** As PostgreSQL prints the payload. */
  readonly body: string | Buffer
}): string {
  const { routingKey, type, aggregate, sequence, body } = parts
  const head = JSON.stringify([routingKey, type, aggregate, sequence])
  return createHash('sha1').update(head).update(body).digest('base64').slice(0, 16)
}
