/**
 * Header names by which RabbitMQ or one of its plugins routes, delays, filters, deduplicates or counts, and those it
 * writes itself. A row that carries one is refused: it could change where a message goes or what the broker does.
 * Sources: https://www.rabbitmq.com/docs/sender-selected and the pages on dead lettering, streams, federation,
 * shovels, MQTT and AMQP 1.0 conversion beside it; the READMEs of the delayed message, recent history and message
 * deduplication plugins.
 */
const reservedNames: ReadonlySet<string> = new Set([
  'CC',
  'BCC',
  'x-acquired-count',
  'x-cache-ttl',
  'x-cc',
  'x-death',
  'x-deduplication-header',
  'x-delay',
  'x-delivery-count',
  'x-exchange',
  'x-received-from',
  'x-recent-history-no-store',
  'x-routing-key',
  'x-routing-keys',
])

const reservedPrefixes = [
  'x-amqp-',
  'x-first-death-',
  'x-last-death-',
  'x-mqtt-',
  'x-opt-',
  'x-shovelled',
  'x-stream-',
] as const

/** True for a name that only the broker may use. Exact case, as the broker compares. */
export function isBrokerHeader(name: string): boolean {
  if (reservedNames.has(name)) return true
  return name.startsWith('x-') && reservedPrefixes.some((prefix) => name.startsWith(prefix))
}

/** True for a `wal-…` name: the bridge's own, present and future. A row header of that name is dropped. */
export function isBridgeHeader(name: string): boolean {
  return name.startsWith('wal-')
}
