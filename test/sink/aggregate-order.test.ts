import { expect, test } from 'vitest'
import { SeededRandom } from '../support/seeded-random.ts'
import { ackAll, bodies, fakeBroker, nackAll, returnAndAck, rowsOf } from './fake-broker.ts'
import { ScriptedKeeper } from './scripted-keeper.ts'
import { startSink } from './sink-harness.ts'
import { pushTransaction } from './window-rows.ts'

const order = 'aggregate'
/** Rows 0, 2, 4 … belong to `a`, the others to `b`. */
const twoAggregates = (n: number) => ({ aggregateType: 'order', aggregateId: n % 2 === 0 ? 'a' : 'b' })
const oneAggregate = () => ({ aggregateType: 'order', aggregateId: 'a' })

/** Parks an aggregate as soon as one of its events is kept, as `deadLetter.scope: aggregate` does. */
function parkingKeeper(): ScriptedKeeper {
  const keeper = new ScriptedKeeper()
  keeper.before = (items) => {
    for (const { row } of items) if (row.aggregateId !== null) keeper.parked.add(row.aggregateId)
  }
  return keeper
}

test('the next event of an aggregate is sent when the one before it is confirmed, and others do not wait', async () => {
  const broker = await fakeBroker()
  const { window, sink, until } = startSink(broker.url, { order })
  pushTransaction(window, 0x10n, 5, twoAggregates)
  sink.flush()
  await broker.published(2)
  broker.last.ack(2)
  await broker.published(3)
  broker.last.ack(1)
  await broker.published(4)
  expect(bodies(broker.publishes)).toEqual(rowsOf('10', 0, 1, 3, 2))
  broker.script = ackAll
  broker.last.ack(4, true)
  await until(() => window.isEmpty)
})

test('a nacked event holds back its aggregate only, and goes before its next one', async () => {
  const broker = await fakeBroker({
    onPublish: ({ connection, tag }) => (tag === 1 ? connection.nack(tag) : connection.ack(tag)),
  })
  const { window, sink, until } = startSink(broker.url, {
    order,
    retry: { attempts: 3, initialDelay: 100, maxDelay: 100 },
  })
  pushTransaction(window, 0x10n, 6, twoAggregates)
  sink.flush()
  await until(() => window.isEmpty)
  expect(bodies(broker.publishes)).toEqual(rowsOf('10', 0, 1, 3, 5, 0, 2, 4))
})

test('what is behind an event that became a dead letter goes on, when only the event is held back', async () => {
  const broker = await fakeBroker({
    onPublish: (publish) => {
      if (publish.body.toString() === '0/10#0') returnAndAck(publish)
      else publish.connection.ack(publish.tag)
    },
  })
  const keeper = new ScriptedKeeper()
  const { window, sink, until } = startSink(broker.url, { order, keeper })
  pushTransaction(window, 0x10n, 3, oneAggregate)
  sink.flush()
  await until(() => window.isEmpty)
  expect(bodies(broker.publishes)).toEqual(rowsOf('10', 0, 0, 0, 1, 2))
  expect(keeper.kept).toEqual(['event-16-0 EVENT_UNROUTABLE'])
})

test('events of a parked aggregate are kept in order and not sent, with all that came meanwhile', async () => {
  const broker = await fakeBroker({
    onPublish: ({ connection, tag, body }) =>
      body.toString() === '0/10#0' ? connection.nack(tag) : connection.ack(tag),
  })
  const keeper = parkingKeeper()
  const { window, sink, until } = startSink(broker.url, { order, keeper })
  pushTransaction(window, 0x10n, 1300, twoAggregates)
  sink.flush()
  await until(() => window.isEmpty)
  const later = Array.from({ length: 649 }, (_, n) => `event-16-${2 * n + 2} EVENT_PARKED`)
  expect(keeper.kept).toEqual(['event-16-0 EVENT_NACKED', ...later])
  expect([sink.counters.deadLettered, sink.counters.confirmed]).toEqual([650, 650])
  pushTransaction(window, 0x20n, 1, oneAggregate)
  sink.flush()
  await until(() => window.isEmpty)
  expect(keeper.kept.at(-1)).toBe('event-32-0 EVENT_PARKED')
  expect(broker.publishes.filter(({ body }) => body.toString() === '0/20#0')).toEqual([])
})

test('events of an aggregate that is no longer parked when they are to be kept are sent, in order', async () => {
  const broker = await fakeBroker(ackAll)
  const keeper = new ScriptedKeeper()
  keeper.parked.add('a')
  keeper.before = () => keeper.parked.clear()
  keeper.verdict = () => 'released'
  const { window, sink, until } = startSink(broker.url, { order, keeper })
  pushTransaction(window, 0x10n, 20, oneAggregate)
  sink.flush()
  await until(() => window.isEmpty)
  expect(bodies(broker.publishes)).toEqual(rowsOf('10', ...Array.from({ length: 20 }, (_, n) => n)))
  expect([keeper.kept, sink.counters.deadLettered]).toEqual([[], 0])
})

// The store released the first 500 events, one of which then failed: what was still on its way to the store was added to
// the queue a second time, and settled before its turn; what came after it waited for ever.
test('an aggregate that is parked anew while its events are being released loses and repeats none, and does not stall', async () => {
  const broker = await fakeBroker({
    onPublish: ({ connection, tag, body }) =>
      body.toString() === '0/10#0' ? connection.nack(tag) : connection.ack(tag),
  })
  const keeper = new ScriptedKeeper()
  keeper.parked.add('a')
  let batches = 0
  keeper.before = async (items) => {
    batches++
    if (batches === 1) keeper.parked.clear()
    // The second batch is answered only when the first event of the aggregate has failed again and others parked it.
    if (batches === 2) {
      await until(() => sink.counters.nacked === 3)
      keeper.parked.add('a')
    }
    for (const { row } of items) if (batches > 2 && row.ordinal === 0) keeper.parked.add('a')
  }
  keeper.verdict = () => (batches === 1 ? 'released' : 'kept')
  const { window, sink, until } = startSink(broker.url, { order, keeper })
  pushTransaction(window, 0x10n, 800, oneAggregate)
  sink.flush()
  await until(() => window.isEmpty)
  const keptIds = keeper.kept.map((one) => one.split(' ')[0])
  expect(new Set(keptIds).size).toBe(keptIds.length)
  expect(keptIds).toHaveLength(800)
  keeper.parked.clear()
  const end = pushTransaction(window, 0x20n, 3, oneAggregate)
  sink.flush()
  await until(() => window.settled.lsn === end)
  expect(bodies(broker.publishes).slice(-3)).toEqual(rowsOf('20', 0, 1, 2))
})

test('an event that is to block holds back its aggregate only', async () => {
  const broker = await fakeBroker({
    onPublish: (publish) => {
      if (publish.body.toString() === '0/10#0') returnAndAck(publish)
      else publish.connection.ack(publish.tag)
    },
  })
  const { window, sink, until } = startSink(broker.url, { order })
  pushTransaction(window, 0x10n, 6, (n) => ({ ...twoAggregates(n), unroutable: 'block' }))
  sink.flush()
  await until(() => sink.state === 'blocked' && sink.counters.confirmed === 3 && sink.counters.returned > 5)
  expect(new Set(bodies(broker.publishes))).toEqual(new Set(rowsOf('10', 0, 1, 3, 5)))
  broker.script = ackAll
  await until(() => window.isEmpty && sink.state === 'open')
  expect(bodies(broker.publishes).slice(-3)).toEqual(rowsOf('10', 0, 2, 4))
})

test('what is being kept does not hold back other aggregates, and its own follows it', async () => {
  const broker = await fakeBroker(ackAll)
  const keeper = new ScriptedKeeper()
  let keep = () => {}
  keeper.before = () =>
    new Promise((resolve) => {
      keep = resolve
    })
  const refusal = { code: 'EVENT_INVALID', text: 'bad' } as const
  const { window, sink, until } = startSink(broker.url, { order, keeper })
  pushTransaction(window, 0x10n, 6, (n) => ({ ...twoAggregates(n), ...(n === 0 && { refusal }) }))
  sink.flush()
  await until(() => sink.counters.confirmed === 3 && keeper.calls.length === 1)
  expect(bodies(broker.publishes)).toEqual(rowsOf('10', 1, 3, 5))
  keep()
  await until(() => window.isEmpty)
  expect(bodies(broker.publishes).slice(3)).toEqual(rowsOf('10', 2, 4))
})

test('a lost connection sends one event of each aggregate again, and never two', async () => {
  const broker = await fakeBroker()
  const { window, sink, until } = startSink(broker.url, { order })
  pushTransaction(window, 0x10n, 6, twoAggregates)
  sink.flush()
  await broker.published(2)
  broker.last.cut()
  await broker.published(4)
  expect(bodies(broker.publishes)).toEqual(rowsOf('10', 0, 1, 0, 1))
  broker.script = ackAll
  broker.last.ack(2, true)
  await until(() => window.isEmpty)
})

test.each([1, 2, 3])(
  'with nacks, returns and lost connections at random each aggregate stays in order (seed %i)',
  async (seed) => {
    const random = new SeededRandom(seed)
    const taken = new Map<string, number[]>()
    const broker = await fakeBroker({
      onPublish: (publish) => {
        const { connection, tag } = publish
        const dice = random.next()
        if (dice < 0.1) connection.nack(tag)
        else if (dice < 0.2) returnAndAck(publish)
        else if (dice < 0.202) connection.cut()
        else {
          const [aggregate = '', sequence] = publish.body.toString().split(':')
          const seen = taken.get(aggregate) ?? []
          taken.set(aggregate, seen)
          if (!seen.includes(Number(sequence))) seen.push(Number(sequence))
          // It took the message, and its confirm is lost with the connection.
          if (dice < 0.204) connection.cut()
          else connection.ack(tag)
        }
      },
    })
    const { window, sink, until } = startSink(broker.url, {
      order,
      retry: { attempts: 50, initialDelay: 1, maxDelay: 4 },
    })
    const sequences = new Map<string, number>()
    for (let transaction = 1n; transaction <= 40n; transaction++) {
      pushTransaction(window, transaction * 0x10n, 20, () => {
        const aggregateId = `a${random.between(0, 7)}`
        const sequence = (sequences.get(aggregateId) ?? 0) + 1
        sequences.set(aggregateId, sequence)
        return { aggregateType: 'order', aggregateId, body: `${aggregateId}:${sequence}` }
      })
    }
    sink.flush()
    await until(() => window.isEmpty, 20_000)
    expect(sink.counters.nacked).toBeGreaterThan(20)
    for (const [aggregate, count] of sequences) {
      expect([aggregate, taken.get(aggregate)]).toEqual([aggregate, Array.from({ length: count }, (_, n) => n + 1)])
    }
  },
  30_000,
)

test('nacks in a flood of one aggregate do not let its second event pass the first', async () => {
  const broker = await fakeBroker(nackAll)
  const { window, sink, until } = startSink(broker.url, {
    order,
    retry: { attempts: 1000, initialDelay: 1, maxDelay: 1 },
  })
  pushTransaction(window, 0x10n, 100, oneAggregate)
  sink.flush()
  await until(() => sink.counters.nacked >= 20)
  expect(new Set(bodies(broker.publishes))).toEqual(new Set(['0/10#0']))
  broker.script = ackAll
  await until(() => window.isEmpty)
})
