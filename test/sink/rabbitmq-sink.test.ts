import { expect, test } from 'vitest'
import { ackAll, bodies, fakeBroker, rowsOf } from './fake-broker.ts'
import { startSink } from './sink-harness.ts'
import { pushTransaction } from './window-rows.ts'

test('publishes in order and settles what is confirmed', async () => {
  const broker = await fakeBroker(ackAll)
  const { window, sink, until, states } = startSink(broker.url)
  const end = pushTransaction(window, 0x10n, 5)
  sink.flush()
  await until(() => window.settled.lsn === end)
  expect(bodies(broker.publishes)).toEqual(rowsOf('10', 0, 1, 2, 3, 4))
  expect(sink.counters).toMatchObject({ published: 5, confirmed: 5, reconnects: 0 })
  expect(states).toEqual(['connecting', 'open'])
})

test('a confirm of later messages settles nothing while an earlier one is missing', async () => {
  const broker = await fakeBroker()
  const { window, sink, until } = startSink(broker.url)
  const end = pushTransaction(window, 0x10n, 4)
  sink.flush()
  await broker.published(4)
  for (const tag of [4, 2, 3]) broker.last.ack(tag)
  await until(() => sink.counters.confirmed === 3)
  expect(window.settled).toEqual({ lsn: 0n, partial: null })
  broker.last.ack(1)
  await until(() => window.settled.lsn === end)
})

test('a storm of multiple confirms in any mixture settles each row once', async () => {
  const broker = await fakeBroker()
  const { window, sink, until } = startSink(broker.url)
  const end = pushTransaction(window, 0x10n, 100)
  sink.flush()
  await broker.published(100)
  for (let tag = 1; tag <= 100; tag++) {
    if (tag % 7 === 3) broker.last.ack(tag)
    if (tag % 10 === 0) broker.last.ack(tag, true)
  }
  await until(() => window.settled.lsn === end)
  expect(sink.counters).toMatchObject({ published: 100, confirmed: 100, reconnects: 0 })
})

test.each([
  ['an unknown tag', 7, false],
  ['an unknown tag with multiple', 7, true],
  ['tag zero', 0, false],
  // amqplib's own list would grow to this length, and be walked when the channel closes.
  ['a huge tag', 4_000_000_000, false],
])('%s settles nothing, and the channel is replaced', async (_name, tag, multiple) => {
  const broker = await fakeBroker()
  const { window, sink, until, states, lines } = startSink(broker.url)
  const end = pushTransaction(window, 0x10n, 3)
  sink.flush()
  await broker.published(3)
  broker.last.ack(tag, multiple)
  broker.last.ack(1)
  await broker.published(6)
  expect(sink.counters.confirmed).toBe(0)
  expect(bodies(broker.publishes.slice(3))).toEqual(rowsOf('10', 0, 1, 2))
  expect(lines.join()).toContain(`ack of delivery tag ${tag}`)
  broker.last.ack(3, true)
  await until(() => window.settled.lsn === end)
  expect(states).toEqual(['connecting', 'open', 'connecting', 'open'])
})

test('a repeated tag replaces the channel, and what it confirmed first stays settled', async () => {
  const broker = await fakeBroker()
  const { window, sink, until } = startSink(broker.url)
  pushTransaction(window, 0x10n, 3)
  sink.flush()
  await broker.published(3)
  broker.last.ack(2)
  broker.last.ack(2)
  await broker.published(5)
  expect(bodies(broker.publishes.slice(3))).toEqual(rowsOf('10', 0, 2))
  broker.last.ack(2, true)
  await until(() => window.isEmpty)
})

test('after a nack the row is sent again before anything younger', async () => {
  const broker = await fakeBroker()
  const { window, sink, until } = startSink(broker.url, { limits: { messages: 4, bytes: 1e6 } })
  pushTransaction(window, 0x10n, 6)
  sink.flush()
  await broker.published(4)
  broker.last.nack(2)
  broker.last.ack(1)
  await broker.published(6)
  expect(bodies(broker.publishes.slice(4))).toEqual(rowsOf('10', 1, 4))
  broker.script = ackAll
  broker.last.ack(6, true)
  await until(() => window.isEmpty)
})

test('a dropped event settles, is counted and reported', async () => {
  const broker = await fakeBroker({
    onPublish: (publish) => {
      publish.connection.return(publish)
      publish.connection.ack(publish.tag)
    },
  })
  const { window, sink, until, lines } = startSink(broker.url)
  const end = pushTransaction(window, 0x10n, 50, () => ({ unroutable: 'drop' }))
  sink.flush()
  await until(() => window.settled.lsn === end)
  expect(sink.counters).toMatchObject({ dropped: 50, confirmed: 0, returned: 50 })
  expect(lines.filter((line) => line.startsWith('dropped'))).toHaveLength(1)
})

test('an event that is to block is tried for ever, and nothing passes it', async () => {
  const broker = await fakeBroker({
    onPublish: (publish) => {
      publish.connection.return(publish)
      publish.connection.ack(publish.tag)
    },
  })
  const { window, sink, until } = startSink(broker.url)
  pushTransaction(window, 0x10n, 1, () => ({ unroutable: 'block' }))
  sink.flush()
  await broker.published(5)
  pushTransaction(window, 0x20n, 1)
  sink.flush()
  await broker.published(10)
  expect(sink.state).toBe('blocked')
  expect(sink.reason?.code).toBe('EVENT_UNROUTABLE')
  expect(new Set(bodies(broker.publishes))).toEqual(new Set(['0/10#0']))
  broker.script = ackAll
  await until(() => window.isEmpty && sink.state === 'open')
})

test('a return that belongs to nothing in flight is counted and reported once', async () => {
  const broker = await fakeBroker()
  const { window, sink, until, lines } = startSink(broker.url)
  pushTransaction(window, 0x10n, 1)
  sink.flush()
  await broker.published(1)
  const [publish] = broker.publishes
  for (const headers of [{ 'wal-lsn': '0/99', 'wal-ordinal': 0 }, { 'wal-lsn': 'x', 'wal-ordinal': 0 }, {}])
    broker.last.return(publish!, { ...publish!.properties, headers })
  broker.last.ack(1)
  await until(() => window.isEmpty)
  expect(sink.counters).toMatchObject({ returned: 3, confirmed: 1 })
  expect(lines.filter((line) => line.includes('not in flight'))).toHaveLength(1)
})

test('a closed channel without a culprit that shows itself sends the window one by one, then as a pipeline', async () => {
  const broker = await fakeBroker()
  const { window, sink, until } = startSink(broker.url)
  pushTransaction(window, 0x10n, 3)
  sink.flush()
  await broker.published(3)
  broker.last.closeChannel(406, 'PRECONDITION_FAILED - something')
  for (const [count, tag] of [
    [4, 1],
    [5, 2],
    [6, 3],
  ] as const) {
    await broker.published(count)
    expect(window.inFlight).toBe(1)
    if (count === 6) pushTransaction(window, 0x20n, 2)
    broker.last.ack(tag)
  }
  await broker.published(8)
  expect(window.inFlight).toBe(2)
  broker.last.ack(5, true)
  await until(() => window.isEmpty)
  expect(sink.counters.reconnects).toBe(1)
})

test('answers for a window that was reset settle nothing of the new one', async () => {
  const broker = await fakeBroker()
  const { window, sink, until } = startSink(broker.url)
  pushTransaction(window, 0x10n, 2)
  sink.flush()
  await broker.published(2)
  window.reset({ lsn: 0x8n, partial: null })
  const end = pushTransaction(window, 0x10n, 1)
  sink.flush()
  await broker.published(3)
  broker.last.ack(2, true)
  broker.last.nack(3)
  await until(() => sink.counters.nacked === 1)
  expect(window.settled.lsn).toBe(0x8n)
  broker.script = ackAll
  await until(() => window.settled.lsn === end)
})

test('a broken invariant ends the publishing for good and is reported as a bug', async () => {
  const broker = await fakeBroker()
  const { window, sink, until } = startSink(broker.url)
  pushTransaction(window, 0x10n, 2)
  sink.flush()
  await broker.published(2)
  // Somebody else settles a row that is in flight.
  window.settle(window.find(0x10n, 1)!)
  broker.last.ack(2, true)
  await until(() => sink.state === 'failing')
  expect(sink.reason?.code).toBe('ASSERTION_FAILED')
})
