import { expect, test } from 'vitest'
import { SeededRandom } from '../support/seeded-random.ts'
import { bodies, rowsOf } from './fake-broker.ts'
import { brokerStage } from './scripted-broker-stage.ts'

const seeds = [1, 2, 3, 4, 5]

test.each([
  ['of later rows of the same transaction', [4, 2, 3], false],
  ['of the last row alone', [4], false],
])('a confirm %s, with the first one missing, never stores anything', async (_name, tags, multiple) => {
  const { broker, sink, until, stored, ack, startSession } = await brokerStage()
  const session = await startSession()
  const end = session.receive(0x10n, 4)
  await broker.published(4)
  for (const tag of tags) ack(tag, multiple)
  await until(() => sink.counters.confirmed === tags.length)
  await session.looks(5)
  expect(stored).toEqual([])
  ack(1)
  for (const tag of [2, 3, 4].filter((one) => !tags.includes(one))) ack(tag)
  await session.finish(end)
})

test('a confirm of transaction N+1 with N missing never stores N+1, nor acknowledges it to the slot', async () => {
  const { broker, sink, until, stored, ack, startSession } = await brokerStage()
  const session = await startSession()
  session.receive(0x10n, 1)
  session.receive(0x20n, 1)
  const end = session.receive(0x30n, 1)
  await broker.published(3)
  ack(2)
  ack(3)
  await until(() => sink.counters.confirmed === 2)
  await session.looks(5)
  expect([stored, session.source.acknowledged]).toEqual([[], []])
  ack(1)
  await session.finish(end)
})

test('a confirm of N+1 stores nothing either when N is sent again on a new channel and N+1 is not', async () => {
  const { broker, sink, until, stored, ack, startSession } = await brokerStage()
  const session = await startSession()
  const end = session.receive(0x10n, 3)
  await broker.published(3)
  ack(2)
  ack(3)
  await until(() => sink.counters.confirmed === 2)
  broker.last.cut()
  await broker.published(4)
  expect(bodies(broker.publishes.slice(3))).toEqual(rowsOf('10', 0))
  await session.looks(5)
  expect(stored).toEqual([])
  ack(1)
  await session.finish(end)
})

test.each(seeds)('confirms in any order store only what has no gap below it (seed %i)', async (seed) => {
  const random = new SeededRandom(seed)
  const { broker, ack, startSession } = await brokerStage()
  const session = await startSession()
  let end = 0n
  for (let lsn = 0x10n; lsn <= 0x400n; lsn += 0x10n) end = session.receive(lsn, random.between(1, 4))
  await broker.published(session.window.messages)
  const outstanding = broker.publishes.map(({ tag }) => tag)
  while (outstanding.length > 0) {
    const index = random.chance(0.1) ? 0 : random.between(0, Math.min(outstanding.length - 1, 20))
    if (random.chance(0.1)) ack(outstanding.splice(0, index + 1).at(-1) ?? 0, true)
    else ack(outstanding.splice(index, 1)[0] ?? 0)
    if (random.chance(0.2)) await session.looks(1)
  }
  await session.finish(end)
})

test.each([
  ['one by one', false],
  ['with multiple', true],
])(
  'a return and then its ack, %s, is a failure and no success: nothing is stored before it is a dead letter',
  async (_name, multiple) => {
    const { broker, keeper, sink, until, stored, take, ack, giveBack, takeAll, startSession } = await brokerStage()
    let keep = () => {}
    keeper.before = () =>
      new Promise((resolve) => {
        keep = resolve
      })
    const session = await startSession()
    const end = session.receive(0x10n, 3)
    await broker.published(3)
    const [first, second, third] = broker.publishes
    if (first === undefined || second === undefined || third === undefined) throw new Error('three were published')
    broker.script = {
      onPublish: (publish) => {
        giveBack(publish)
        publish.connection.ack(publish.tag)
      },
    }
    giveBack(second)
    if (multiple) {
      take([first, third])
      ack(3, true)
    } else for (const tag of [1, 2, 3]) ack(tag)
    await until(() => sink.counters.returned === 3 && keeper.calls.length === 1)
    await session.looks(5)
    expect(stored.every(({ partial }) => partial?.rows === 1)).toBe(true)
    expect([sink.counters.confirmed, keeper.kept]).toEqual([2, []])
    broker.script = takeAll
    keep()
    await session.finish(end)
    expect(keeper.kept).toEqual(['event-16-1 EVENT_UNROUTABLE'])
  },
)

test.each([
  ['an ack of a tag that was never given', 7, false, 'ack'],
  ['an ack of such a tag and all before', 7, true, 'ack'],
  ['a nack of a tag that was never given', 7, false, 'nack'],
  ['an ack of tag 0', 0, false, 'ack'],
  ['an ack of a huge tag', 4_000_000_000, true, 'ack'],
] as const)('%s recycles the channel and stores nothing', async (_name, tag, multiple, kind) => {
  const { broker, sink, stored, states, lines, ack, startSession } = await brokerStage()
  const session = await startSession()
  const end = session.receive(0x10n, 3)
  await broker.published(3)
  broker.last[kind](tag, multiple)
  await broker.published(6)
  await session.looks(5)
  expect([stored, sink.counters.confirmed, sink.counters.reconnects]).toEqual([[], 0, 1])
  expect(bodies(broker.publishes.slice(3))).toEqual(rowsOf('10', 0, 1, 2))
  expect(lines.join()).toContain(`${kind} of delivery tag ${tag}`)
  ack(3, true)
  await session.finish(end)
  expect(states).toEqual(['connecting', 'open', 'connecting', 'open'])
})

test.each([
  ['an ack', 'ack', false],
  ['a nack after the ack', 'nack', false],
  ['an ack of it and all before', 'ack', true],
] as const)(
  '%s of a tag that has been answered recycles the channel, and stores nothing above the gap',
  async (_name, kind, multiple) => {
    const { broker, sink, until, stored, ack, takeAll, startSession } = await brokerStage()
    const session = await startSession()
    const end = session.receive(0x10n, 4)
    await broker.published(4)
    // With multiple the whole of it must have been answered: else it speaks of the others as well.
    if (multiple) ack(1)
    ack(2)
    await until(() => sink.counters.confirmed === (multiple ? 2 : 1))
    broker.script = takeAll
    broker.last[kind](2, multiple)
    await until(() => sink.counters.reconnects === 1)
    await session.finish(end)
    expect(bodies(broker.publishes.slice(4))).toEqual(multiple ? rowsOf('10', 2, 3) : rowsOf('10', 0, 2, 3))
    expect(stored.length).toBeGreaterThan(0)
  },
)

test('answers that come in one piece with an unknown tag count up to it, and not behind it', async () => {
  const { broker, sink, stored, ack, take, startSession } = await brokerStage()
  const session = await startSession()
  const end = session.receive(0x10n, 4)
  await broker.published(4)
  const { last } = broker
  last.together(() => {
    ack(2)
    last.ack(99)
    last.ack(1)
    last.ack(4, true)
  })
  await broker.published(7)
  await session.looks(5)
  expect([stored, sink.counters.confirmed]).toEqual([[], 1])
  expect(bodies(broker.publishes.slice(4))).toEqual(rowsOf('10', 0, 2, 3))
  take(broker.publishes)
  ack(3, true)
  await session.finish(end)
})

test.each(seeds)(
  'a storm of multiple confirms, with and without gaps, settles each row once (seed %i)',
  async (seed) => {
    const random = new SeededRandom(seed)
    const { broker, sink, ack, startSession } = await brokerStage()
    const session = await startSession()
    const end = session.receive(0x10n, 500)
    await broker.published(500)
    const answered = new Set<number>()
    for (let through = 0; through < 500; ) {
      for (let n = random.between(0, 20); n > 0; n--) {
        const tag = random.between(through + 1, 500)
        if (!answered.has(tag)) ack(tag)
        answered.add(tag)
      }
      const next = Math.min(500, through + random.between(1, 30))
      const open = Array.from({ length: next - through }, (_, n) => through + 1 + n).some((tag) => !answered.has(tag))
      if (open) ack(next, true)
      for (let tag = through + 1; tag <= next; tag++) answered.add(tag)
      through = next
      if (random.chance(0.1)) await session.looks(1)
    }
    await session.finish(end)
    expect(sink.counters).toMatchObject({ published: 500, confirmed: 500, reconnects: 0 })
  },
)

test('tag 0 with multiple confirms all that is outstanding', async () => {
  const { broker, take, ack, startSession } = await brokerStage()
  const session = await startSession()
  const end = session.receive(0x10n, 50)
  await broker.published(50)
  take(broker.publishes)
  ack(0, true)
  await session.finish(end)
})
