import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { insertReplay } from '../../src/replay/replay-record.ts'
import { uniqueName } from '../support/services.ts'
import { type DeadLettersStage, deadLettersStage } from './dead-letters-stage.ts'

let stage: DeadLettersStage

beforeAll(async () => {
  stage = await deadLettersStage()
})

afterAll(() => stage.dispose())

beforeEach(() => stage.reset())

const numbered = (count: number, from = 1) => Array.from({ length: count }, (_, n) => n + from)

test('list shows them by position, narrows, and says how many more there are', async () => {
  const { books, culprit, run, list } = stage
  expect(await run('list')).toMatchObject({ code: 0, out: '', err: 'no dead letters of slot shop found\n' })
  await books.store().keep(numbered(3).map((n) => culprit({ id: `e${n}`, type: `T${n}` }, { ordinal: n })))
  const { out, err } = await run('list', '--limit', '2')
  expect(out.split('\n')[0]).toMatch(/^eventId +aggregate +type +position +reason +attempts +lastFailedAt +text$/)
  expect(out).toMatch(/^e2 .*\ne3 +order\/42 +T3 +16\/B374D848#3 +EVENT_UNROUTABLE +5 +20\S+ +no queue takes it\n$/m)
  expect(err).toBe('1 older ones are not shown (--limit 2)\n')
  const { total, deadLetters } = await list('--type', 'T[12]', '--type', 'T?', '--aggregate', 'order/42')
  expect(total).toBe(3)
  expect(deadLetters[0]).toEqual({
    eventId: 'e1',
    aggregateType: 'order',
    aggregateId: '42',
    type: 'T1',
    position: { commitLsn: '16/B374D848', ordinal: 1 },
    committedAt: '2026-01-31T23:59:59.123456Z',
    reason: { code: 'EVENT_UNROUTABLE', text: 'no queue takes it' },
    attempts: 5,
    firstFailedAt: expect.stringMatching(/^20.*Z$/),
    lastFailedAt: expect.stringMatching(/^20.*Z$/),
    exchange: stage.exchange,
    routingKey: 'order.T1',
    bodyBytes: 13,
    state: 'parked',
    aggregateParked: false,
    replayId: null,
  })
})

test('show prints an event whole, as text and as JSON, and names what is not there', async () => {
  const { books, culprit, run, show } = stage
  const headers = '{"trace": 9007199254740993}'
  await books
    .store()
    .keep([
      culprit({ id: 'e1', payload: '"\u001b[31m ü"', headers }),
      culprit({ id: 'e2', payload: Buffer.from([0xff, 0x00]) }, { ordinal: 1 }),
    ])
  const shown = await run('show', 'e1', 'e9')
  expect(shown).toMatchObject({ code: 1, err: 'no dead letter of slot shop has the event id "e9"\n' })
  for (const part of ['event e1', '"messageId": "e1"', '9007199254740993', 'transaction_id', String.raw`"\x1b[31m ü"`])
    expect(shown.out).toContain(part)
  expect((await run('show', 'e2')).out).toContain('body (2 bytes, in base64)\n/wA=')
  const [first, second] = await show('e1', 'e2')
  expect(first).toMatchObject({
    eventId: 'e1',
    properties: { messageId: 'e1', headers: { trace: { '!': 'int64', value: '9007199254740993' } } },
    rowColumns: { id: 'e1', headers },
  })
  expect(Buffer.from(second?.body.data ?? '', 'base64')).toEqual(Buffer.from([0xff, 0x00]))
})

test.each([[['retry']], [['discard']], [['retry', '--all', '--type', 'x']], [['discard', 'e1', '--all', '--yes']]])(
  '%j is refused: it does not say what is meant',
  async (args) => {
    expect(await stage.run(...args)).toMatchObject({ code: 2, err: expect.stringContaining('error USAGE') })
  },
)

test('a time that PostgreSQL could not take is a usage error that names it', async () => {
  for (const text of ['2026-02-31', '0000-01-01', '2026-01-31T23:59+16:00']) {
    const { code, err } = await stage.run('list', '--since', text)
    expect([code, err]).toEqual([2, expect.stringContaining(`--since <time>' argument '${text}' is invalid. expected`)])
    expect(err).toContain('remedy:')
  }
  for (const text of [
    '0001-01-01 00:00+15:59',
    '9999-12-31T23:59:59.999999-15:59',
    '2024-02-29',
    '2026-01-31T00:00-0530',
  ])
    expect(await stage.run('list', '--since', text, '--until', text)).toMatchObject({ code: 0 })
})

test('a retry of what no queue takes keeps it with its count; once a queue is bound it is delivered as at first', async () => {
  const { books, culprit, run, bind, drain, audit, left, list } = stage
  await books.store().keep(numbered(3).map((n) => culprit({ id: `e${n}` }, { ordinal: n })))
  const failed = await run('retry', '--all')
  expect(failed.code).toBe(1)
  expect(failed.err).toContain('failed again: event e1: EVENT_UNROUTABLE')
  expect(failed.err).toMatch(/\n0 delivered, 3 failed again\n$/)
  expect(await left()).toEqual(['e1', 'e2', 'e3'])
  expect((await list()).deadLetters.map((one) => one.attempts)).toEqual([6, 6, 6])

  await bind()
  expect(await run('retry', 'e3', 'e1', 'e9')).toMatchObject({
    code: 1,
    err: 'no dead letter of slot shop has the event id "e9"\n2 delivered, 0 failed again\n',
  })
  expect(await run('retry', '--all')).toMatchObject({ code: 0, err: '1 delivered, 0 failed again\n' })
  const messages = await drain()
  expect(messages.map(({ properties }) => properties.messageId)).toEqual(['e1', 'e3', 'e2'])
  const [first] = messages
  expect(first?.properties.headers).toMatchObject({ 'wal-lsn': '16/B374D848', 'wal-ordinal': 1, aggregate_id: '42' })
  expect(first?.fields.routingKey).toBe('order.placed')
  expect(first?.content.toString()).toBe('{"total": 12}')
  expect(await left()).toEqual([])
  expect(await audit()).toEqual(['e1', 'e3', 'e2'].map((id) => `delivered ${id} EVENT_UNROUTABLE`))
})

test('a row refused as too large is made into a message once the limit is raised', async () => {
  const { books, culprit, run, bind, drain, env } = stage
  await bind()
  await books.store().keep([culprit({ id: 'big', payload: 'x'.repeat(300_000) }, { maxMessageSize: 1000 })])
  env.WAL2RABBIT_SINK_MAX_MESSAGE_SIZE = '100KiB'
  try {
    const refused = await run('retry', 'big')
    expect(refused).toMatchObject({ code: 1, err: expect.stringContaining('sink.maxMessageSize allows 102400') })
  } finally {
    delete env.WAL2RABBIT_SINK_MAX_MESSAGE_SIZE
  }
  expect(await run('retry', 'big')).toMatchObject({ code: 0 })
  const [message] = await drain()
  expect(message?.content.length).toBe(300_000)
  expect(message?.properties).toMatchObject({ messageId: 'big', headers: { 'wal-lsn': '16/B374D848' } })
})

test('discard asks for --yes, removes, and leaves a line of the audit for each', async () => {
  const { books, culprit, run, audit, left } = stage
  await books.store().keep(numbered(3).map((n) => culprit({ id: `e${n}` }, { ordinal: n })))
  const asked = await run('discard', 'e1', 'e2')
  expect(asked).toMatchObject({ code: 2, out: '', err: expect.stringContaining('this would discard 2 for good') })
  expect(await left()).toEqual(['e1', 'e2', 'e3'])
  expect(await run('discard', 'e1', 'e2', '--yes')).toMatchObject({
    code: 0,
    out: 'discarded event e1 (16/B374D848#1, EVENT_UNROUTABLE)\ndiscarded event e2 (16/B374D848#2, EVENT_UNROUTABLE)\n',
    err: '2 discarded\n',
  })
  expect(await left()).toEqual(['e3'])
  expect(await audit()).toEqual(['discarded e1 EVENT_UNROUTABLE', 'discarded e2 EVENT_UNROUTABLE'])
  const { rows } = await books.client.query('SELECT done_by, role, attempts::int FROM wal2rabbit.dead_letter_audit')
  expect(rows[0]).toMatchObject({ done_by: expect.stringMatching(/.@./), attempts: 5 })
})

/** A1 failed, A2 … wait behind it; B1 and B2 likewise. */
async function parkTwo(): Promise<void> {
  const { books, culprit, waits } = stage
  const store = books.store({ scope: 'aggregate' })
  await store.keep([
    culprit({ id: 'A1', aggregate_id: 'A' }, { ordinal: 0 }),
    culprit({ id: 'B1', aggregate_id: 'B', type: 'lost' }, { ordinal: 1 }),
    ...numbered(6, 2).map((n) => waits({ id: `A${n}`, aggregate_id: 'A' }, { ordinal: n })),
    waits({ id: 'B2', aggregate_id: 'B' }, { ordinal: 9 }),
  ])
}

test('what is parked follows its culprit in order, and the aggregate is released', async () => {
  const { bind, run, ids, left, parked, audit } = stage
  await parkTwo()
  await bind()
  expect(await run('retry', 'A1')).toMatchObject({ code: 0, err: '7 delivered, 0 failed again\n' })
  expect(await ids()).toEqual(['A1', 'A2', 'A3', 'A4', 'A5', 'A6', 'A7'])
  expect(await left()).toEqual(['B1', 'B2'])
  expect(await parked()).toBe(1)
  expect((await audit()).slice(0, 2)).toEqual(['delivered A1 EVENT_UNROUTABLE', 'delivered A2 EVENT_PARKED'])
})

test('nothing overtakes: what waits is not sent by itself, nor behind a culprit that fails again', async () => {
  const { books, bind, channel, queue, exchange, run, ids, left, list } = stage
  await parkTwo()
  await bind()
  await channel.unbindQueue(queue, exchange, '#')
  await bind('*.placed')
  try {
    expect(await run('retry', 'A3')).toMatchObject({
      code: 1,
      err: '0 delivered, 0 failed again, 1 wait (behind another event, or taken by somebody)\n',
    })
    const { code, err } = await run('retry', '--all')
    expect(code).toBe(1)
    expect(err).toContain('failed again: event B1')
    expect(await ids()).toEqual(['A1', 'A2', 'A3', 'A4', 'A5', 'A6', 'A7'])
    expect(await left()).toEqual(['B1', 'B2'])
    const { deadLetters } = await list()
    expect(deadLetters.map((one) => one.attempts)).toEqual([6, 0])
    // A culprit in the middle: its predecessor is delivered, it fails, and its followers wait for it from now on.
    await books.client.query('TRUNCATE wal2rabbit.dead_letter, wal2rabbit.parked_aggregate')
    const { culprit, waits } = stage
    await books
      .store({ scope: 'aggregate' })
      .keep([
        culprit({ id: 'C1', aggregate_id: 'C' }, { ordinal: 0 }),
        waits({ id: 'C2', aggregate_id: 'C', type: 'lost' }, { ordinal: 1 }),
        waits({ id: 'C3', aggregate_id: 'C' }, { ordinal: 2 }),
      ])
    expect((await run('retry', 'C1')).code).toBe(1)
    expect(await ids()).toEqual(['C1'])
    const after = (await list()).deadLetters
    expect(after.map((one) => one.reason)).toEqual([
      expect.objectContaining({ code: 'EVENT_UNROUTABLE' }),
      { code: 'EVENT_PARKED', text: 'waits behind event C2' },
    ])
  } finally {
    await channel.unbindQueue(queue, exchange, '*.placed')
  }
})

test('discarding a culprit delivers what is parked behind it; discarding all of them delivers nothing', async () => {
  const { bind, run, ids, left, parked, audit } = stage
  await parkTwo()
  await bind()
  expect(await run('discard', 'B1', '--yes')).toMatchObject({ code: 0, err: '1 discarded, 1 delivered\n' })
  expect(await ids()).toEqual(['B2'])
  expect(await run('discard', '--aggregate', 'order/A', '--yes')).toMatchObject({ code: 0, err: '7 discarded\n' })
  expect([await ids(), await left(), await parked()]).toEqual([[], [], 0])
  expect(await audit()).toHaveLength(9)
})

/** What a command that left events behind told to run, without the name of the program. */
function toldToRun(err: string): string[] {
  const command = /\n {2}wal2rabbit dead-letters (.*)\n$/.exec(err)?.[1]
  expect(command, err).toBeDefined()
  return (command ?? '').split(' ')
}

test('a discard that fails behind its culprit says how to deliver what it left parked, and that does, in order', async () => {
  const { bind, run, ids, left, parked, env, exchange } = stage
  await parkTwo()
  await bind()
  env.WAL2RABBIT_SINK_EXCHANGE = `${exchange}-none`
  const failed = await run('discard', 'A1', '--yes').finally(() => {
    env.WAL2RABBIT_SINK_EXCHANGE = exchange
  })
  expect(failed).toMatchObject({ code: 3, err: expect.stringContaining('error SINK_EXCHANGE_MISSING') })
  expect(failed.err).toContain('1 discarded\nevents of an aggregate are still parked')
  expect(await left()).toEqual(['B1', 'A2', 'A3', 'A4', 'A5', 'A6', 'A7', 'B2'])
  const told = toldToRun(failed.err)
  expect(told).toEqual(['retry', '--aggregate', 'order/A'])
  expect(await run(...told)).toMatchObject({ code: 0, err: '6 delivered, 0 failed again\n' })
  expect(await ids()).toEqual(['A2', 'A3', 'A4', 'A5', 'A6', 'A7'])
  expect([await left(), await parked()]).toEqual([['B1', 'B2'], 1])
})

test('a discard stopped by SIGINT says the same, in its JSON too', async () => {
  const { bind, run, ids, left, parked } = stage
  await parkTwo()
  await bind()
  const others = process.listeners('SIGINT')
  const stopAt = (pattern: RegExp) => (text: string) => {
    if (!pattern.test(text)) return
    for (const listener of process.listeners('SIGINT')) if (!others.includes(listener)) listener('SIGINT')
  }
  stage.onPrinted = stopAt(/^discarded event B1/)
  const stopped = await run('discard', 'A1', 'B1', '--yes', '--json')
  expect(stopped).toMatchObject({ code: 1, err: expect.stringContaining('events of 2 aggregates are still parked') })
  expect(stopped.err).toContain('\n  wal2rabbit dead-letters retry --aggregate order/A\n')
  expect(toldToRun(stopped.err)).toEqual(['retry', '--aggregate', 'order/B'])
  const commands = ['A', 'B'].map((id) => `wal2rabbit dead-letters retry --aggregate order/${id}`)
  expect(JSON.parse(stopped.out)).toMatchObject({
    discarded: 2,
    stopped: true,
    stranded: { aggregates: 2, run: commands },
  })
  expect(await left()).toHaveLength(7)
  // What many aggregates would be told, and it reaches these two as well.
  expect(await run('retry', '--reason', 'EVENT_PARKED', '--json')).toMatchObject({ code: 0 })
  const received = await ids()
  expect(received.filter((id) => id !== 'B2')).toEqual(['A2', 'A3', 'A4', 'A5', 'A6', 'A7'])
  expect([received.length, await parked()]).toEqual([7, 0])
})

test('a retry that cannot take a follower leaves those behind it, and says so as JSON too', async () => {
  const { books, bind, run, ids, left } = stage
  await parkTwo()
  await bind()
  const other = await books.connect()
  await other.query(`BEGIN`)
  await other.query(`SELECT FROM wal2rabbit.dead_letter WHERE event_id = 'A4' FOR UPDATE`)
  const { code, out } = await run('retry', 'A1', '--json')
  await other.query('ROLLBACK')
  await other.end()
  const command = 'wal2rabbit dead-letters retry --aggregate order/A'
  expect([code, JSON.parse(out)]).toMatchObject([1, { delivered: 3, stranded: { aggregates: 1, run: [command] } }])
  expect(await left()).toEqual(['B1', 'A4', 'A5', 'A6', 'A7', 'B2'])
  const again = await run('retry', '--aggregate', 'order/A', '--json')
  expect(JSON.parse(again.out)).toMatchObject({ delivered: 4, stranded: { aggregates: 0, run: [] } })
  expect(await ids()).toEqual(['A1', 'A2', 'A3', 'A4', 'A5', 'A6', 'A7'])
})

test('what follows a culprit that failed again waits for that one: nothing is stranded', async () => {
  const { run } = stage
  await parkTwo()
  const { code, out } = await run('retry', 'A1', '--json')
  expect([code, JSON.parse(out)]).toMatchObject([1, { failedAgain: 1, stranded: { aggregates: 0, run: [] } }])
})

test('while a bridge parks more events of the aggregate, all of them go in order and then it is released', async () => {
  const { books, bind, run, ids, culprit, waits, parked } = stage
  await bind()
  for (let round = 0; round < 5; round++) {
    await stage.books.client.query('TRUNCATE wal2rabbit.dead_letter, wal2rabbit.parked_aggregate')
    const store = books.store({ scope: 'aggregate' })
    const id = (n: number) => `${round}-${n}`
    await store.keep([culprit({ id: id(0), aggregate_id: 'A' }, { ordinal: 0 })])
    const retry = run('retry', '--all')
    let released: number | undefined
    let n = 0
    while (released === undefined) {
      n++
      const [verdict] = await store.keep([waits({ id: id(n), aggregate_id: 'A' }, { ordinal: n })])
      if (verdict === 'released') released = n
    }
    expect(await retry).toMatchObject({ code: 0 })
    // The bridge sends `released` itself, after all of these.
    expect(await ids()).toEqual(Array.from({ length: released }, (_, k) => id(k)))
    expect(await parked()).toBe(0)
  }
})

test('an exchange that is not there is for an operator: exit code 3, and everything stays', async () => {
  const { books, culprit, run, left, env, exchange } = stage
  await books.store().keep([culprit({ id: 'e1' })])
  env.WAL2RABBIT_SINK_EXCHANGE = `${exchange}-none`
  try {
    const { code, err } = await run('retry', '--all')
    expect([code, err]).toEqual([3, expect.stringContaining('error SINK_EXCHANGE_MISSING')])
    expect(err).toContain('0 delivered, 0 failed again, 1 left')
  } finally {
    env.WAL2RABBIT_SINK_EXCHANGE = exchange
  }
  expect(await left()).toEqual(['e1'])
})

test('what PostgreSQL refuses is told with its code: exit code 3, nothing is sent', async () => {
  const { books, bind, culprit, run, left, ids, env } = stage
  await bind()
  await books.store().keep([culprit({ id: 'e1' })])
  const role = uniqueName('reader')
  await books.client.query(`CREATE ROLE ${role} LOGIN`)
  await books.client.query(`GRANT USAGE ON SCHEMA wal2rabbit TO ${role}`)
  await books.client.query(`GRANT SELECT ON ALL TABLES IN SCHEMA wal2rabbit TO ${role}`)
  const url = new URL(books.database.url)
  url.username = role
  env.WAL2RABBIT_SOURCE_URL = url.href
  try {
    expect((await run('list')).code).toBe(0)
    const { code, err } = await run('retry', '--all')
    expect([code, err]).toEqual([3, expect.stringContaining('error SOURCE_PERMISSION_DENIED: role')])
    expect(err).toContain(`GRANT UPDATE, DELETE ON wal2rabbit.dead_letter TO "${role}";`)
    // Found out before the sending: else each try would send the event once more.
    await books.client.query(`GRANT ALL ON ALL TABLES IN SCHEMA wal2rabbit TO ${role}`)
    await books.client.query(`REVOKE INSERT ON wal2rabbit.dead_letter_audit FROM ${role}`)
    const refused = await run('retry', '--all')
    expect(refused.err).toContain(`GRANT INSERT ON wal2rabbit.dead_letter_audit TO "${role}";`)
    expect(refused.code).toBe(3)
  } finally {
    env.WAL2RABBIT_SOURCE_URL = books.database.url
    await books.client.query(`DROP OWNED BY ${role}`)
    await books.client.query(`DROP ROLE ${role}`)
  }
  expect([await ids(), await left()]).toEqual([[], ['e1']])
})

test('a row that another command has taken is left to it', async () => {
  const { books, bind, culprit, run, ids, left } = stage
  await bind()
  await books.store().keep(numbered(3).map((n) => culprit({ id: `e${n}`, aggregate_id: `${n}` }, { ordinal: n })))
  const other = await books.connect()
  await other.query(`BEGIN`)
  await other.query(`SELECT FROM wal2rabbit.dead_letter WHERE event_id = 'e2' FOR UPDATE`)
  expect((await run('retry', '--all')).code).toBe(1)
  await other.query('ROLLBACK')
  await other.end()
  expect([await ids(), await left()]).toEqual([['e1', 'e3'], ['e2']])
})

/** `dead-letters retry --all` as a process of its own, with something of it already in the queue. */
async function retryUnderWay(messages_min: number) {
  const { channel, queue, env } = stage
  const main = resolve(import.meta.dirname, '../../dist/cli/main.js')
  const child = spawn(process.execPath, [main, 'dead-letters', 'retry', '--all'], {
    env: { PATH: process.env.PATH, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const said: Buffer[] = []
  child.stderr.on('data', (data: Buffer) => said.push(data))
  const ended = once(child, 'close')
  const arrived = async () => child.exitCode ?? (await channel.checkQueue(queue)).messageCount
  await expect.poll(arrived, { interval: 1, timeout: 20_000 }).toBeGreaterThan(messages_min)
  return { child, ended, said: () => Buffer.concat(said).toString() }
}

async function keep2000(): Promise<void> {
  const store = stage.books.store()
  for (let from = 0; from < 2000; from += 500) {
    const page = numbered(500, from)
    await store.keep(page.map((n) => stage.culprit({ id: `e${n}`, aggregate_id: `${n % 50}` }, { ordinal: n })))
  }
}

test('SIGINT stops after the batch: nothing is sent twice, and the rest stays', async () => {
  const { bind, ids, left } = stage
  await bind()
  await keep2000()
  const { child, ended, said } = await retryUnderWay(0)
  child.kill('SIGINT')
  await ended
  const [received, kept] = [await ids(), await left()]
  expect([child.exitCode, said()]).toEqual([1, expect.stringContaining('stopping after this batch')])
  expect(said()).toContain(`${received.length} delivered, 0 failed again, ${kept.length} left`)
  expect(kept.length).toBeGreaterThan(0)
  expect([...received, ...kept].sort()).toEqual(
    numbered(2000, 0)
      .map((n) => `e${n}`)
      .sort(),
  )
})

test('killed in the middle of 2,000: none is lost, and nothing is removed that the broker does not have', async () => {
  const { bind, drain, left, audit, run } = stage
  await bind()
  await keep2000()
  const received = new Set<string>()
  const receive = async () => {
    for (const { properties } of await drain()) received.add(String(properties.messageId))
    // What is not in the table any more has been received, at this very moment.
    const kept = new Set(await left())
    expect(numbered(2000, 0).filter((n) => !kept.has(`e${n}`) && !received.has(`e${n}`))).toEqual([])
    return kept.size
  }
  for (const messages_min of [0, 100, 350, 0]) {
    const { child, ended } = await retryUnderWay(messages_min)
    child.kill('SIGKILL')
    await ended
    expect(await receive(), 'all done before the kill').toBeGreaterThan(0)
  }
  expect(await run('retry', '--all')).toMatchObject({ code: 0 })
  expect(await receive()).toBe(0)
  expect(received.size).toBe(2000)
  const lines = await audit()
  expect([lines.length, new Set(lines).size]).toEqual([2000, 2000])
})

test('what a replay met goes to where the replay was sent, with its header, also as a message that is made only now', async () => {
  const { books, culprit, run, drain, queue, bind } = stage
  await bind()
  await insertReplay(
    books.client,
    {
      ...{ id: 'r1', slot: 'shop', kind: 'replay', startedBy: 'somebody' },
      request: { from: '16/B0000000', where: [], queue },
      plan: {
        ...{ source: 'table', fromSnapshot: undefined, toSnapshot: undefined, systemIdentifier: '1', timeline: 1 },
        range: { from: { lsn: 1n, rows: 0 }, to: { lsn: 2n, rows: 0 } },
      },
    },
    { lsn: 0n, partial: null },
  )
  await books.store().keep([culprit({ id: 'e1', payload: '{"total": 12}' }, { maxMessageSize: 5 })])
  await books.client.query(`UPDATE wal2rabbit.dead_letter SET replay_id = 'r1', aggregate_key = NULL`)
  expect((await run('list')).out).toMatch(/ replay +text\ne1 .* r1 /)
  expect(await run('retry', '--replay', 'r1')).toMatchObject({ code: 0, err: '1 delivered, 0 failed again\n' })
  const [message, ...others] = await drain()
  expect(others).toEqual([])
  expect(message?.fields).toMatchObject({ exchange: '', routingKey: queue })
  expect(message?.properties.headers).toEqual({ aggregate_type: 'order', aggregate_id: '42', 'wal-replay': 'r1' })
  await books.client.query('TRUNCATE wal2rabbit.replay')
})
