import pg from 'pg'
import { afterEach, expect, test } from 'vitest'
import { formatLsn, type Lsn, parseLsn } from '../../src/base/lsn.ts'
import type { SourceCommit } from '../../src/source/source.ts'
import { eventually, fromSlot, openStage, type SourceReader, type SourceStage } from './source-stage.ts'

let stage: SourceStage | undefined
const open = async () => {
  stage = await openStage()
  return stage
}
afterEach(() => stage?.close())

const commits = (reader: SourceReader): SourceCommit[] => reader.events.filter((event) => event.kind === 'commit')

/** End LSN of the transaction that the row with this id belongs to. */
function endOf(reader: SourceReader, id: string): Lsn {
  const row = reader.rows.find((each) => each.tuple.text(0) === id)!
  return commits(reader).find((commit) => commit.commitLsn === row.transaction.commitLsn)!.endLsn
}

test.each([
  ['status updates go out often', 100],
  ['they are rare, so that the library would send its own', 60_000],
])('what was received and not stored is never acknowledged, and comes again: %s', async (_name, statusInterval) => {
  const { sql, read, confirmedFlush } = await open()
  const before = await confirmedFlush()
  await sql('INSERT INTO outbox VALUES (1)', 'INSERT INTO outbox VALUES (2)')
  const first = await read(fromSlot, { statusInterval })
  await first.until(() => first.rows.length === 2)
  // Longer than the clock of the library's own acknowledgements: absence can only be waited for.
  await new Promise((resolve) => setTimeout(resolve, 2200))
  expect(await confirmedFlush()).toBe(before)
  await first.source.stop()
  expect(await confirmedFlush()).toBe(before)
  const second = await read()
  await second.until(() => second.rows.length === 2)
  expect(second.texts()).toEqual(['1', '2'])
})

test('the slot is told the stored LSN itself, soon, and not the one after it', async () => {
  const { sql, read, confirmedFlush } = await open()
  await sql('INSERT INTO outbox VALUES (1)')
  const reader = await read(fromSlot, { statusInterval: 60_000 })
  await reader.until(() => commits(reader).length === 1)
  const stored = commits(reader)[0]!.endLsn
  reader.source.acknowledge(stored)
  await eventually(async () => (await confirmedFlush()) === formatLsn(stored))
})

test('an acknowledgement above what was received is refused and never reaches the slot', async () => {
  const { sql, read, confirmedFlush } = await open()
  const before = await confirmedFlush()
  await sql('INSERT INTO outbox VALUES (1)')
  const reader = await read(fromSlot, { statusInterval: 50 })
  await reader.until(() => commits(reader).length === 1)
  expect(() => reader.source.acknowledge(commits(reader)[0]!.endLsn + 0x1000n)).toThrow(/only .* was received/)
  await reader.source.stop()
  expect(await confirmedFlush()).toBe(before)
})

test('a start above what is stored does not acknowledge the start', async () => {
  // The window of an earlier session still holds what lies between: it may be read on, not forgotten.
  const { sql, read, confirmedFlush } = await open()
  const before = await confirmedFlush()
  await sql('INSERT INTO outbox VALUES (1)', 'INSERT INTO outbox VALUES (2)')
  const first = await read()
  await first.until(() => first.rows.length === 2)
  await first.source.stop()
  const second = await read({ lsn: endOf(first, '1'), partial: null }, { statusInterval: 50 })
  await second.until(() => second.rows.length === 1)
  expect(second.texts()).toEqual(['2'])
  await second.source.stop()
  expect(await confirmedFlush()).toBe(before)
})

test('stop sends the last acknowledgement and frees the slot at once', async () => {
  const { sql, read, confirmedFlush, client, slot } = await open()
  await sql('INSERT INTO outbox SELECT generate_series(1, 20000)')
  const reader = await read(fromSlot, { statusInterval: 60_000 })
  await reader.until(() => commits(reader).length === 1)
  const stored = commits(reader)[0]!.endLsn
  await sql('INSERT INTO outbox SELECT generate_series(1, 20000)')
  reader.source.pause()
  reader.source.acknowledge(stored)
  await Promise.all([reader.source.stop(), reader.source.stop()])
  expect(await confirmedFlush()).toBe(formatLsn(stored))
  expect(reader.ends).toEqual([undefined])
  const { rows } = await client.query('SELECT active FROM pg_replication_slots WHERE slot_name = $1', [slot])
  expect(rows).toEqual([{ active: false }])
})

test('a transaction that commits exactly where the stored LSN ends is not lost', async () => {
  const { sql, read, client, url, confirmedFlush } = await open()
  // Two open transactions whose commit records follow one another without a gap; rarely another record is between.
  const other = new pg.Client({ connectionString: url })
  await other.connect()
  try {
    for (let attempt = 1; attempt <= 20; attempt++) {
      await sql('BEGIN', `INSERT INTO outbox VALUES (${attempt * 2})`)
      await other.query(`BEGIN; INSERT INTO outbox VALUES (${attempt * 2 + 1})`)
      await Promise.all([client.query('COMMIT'), other.query('COMMIT')])
      const reader = await read()
      await reader.until(() => commits(reader).length === 2)
      const [first, second] = commits(reader)
      reader.source.acknowledge(first!.endLsn)
      await reader.source.stop()
      if (second!.commitLsn === first!.endLsn) {
        expect(await confirmedFlush()).toBe(formatLsn(first!.endLsn))
        const again = await read()
        await again.until(() => again.rows.length > 0)
        expect(again.rows[0]!.transaction.commitLsn).toBe(second!.commitLsn)
        return
      }
      await sql(`SELECT pg_replication_slot_advance('${stage!.slot}', pg_current_wal_lsn())`)
    }
    throw new Error('no two transactions committed side by side in 20 attempts')
  } finally {
    await other.end()
  }
})

test('a session starts at the LSN that it is given, not where the slot stands', async () => {
  const { sql, read, confirmedFlush } = await open()
  await sql('INSERT INTO outbox VALUES (1)', 'INSERT INTO outbox VALUES (2)', 'INSERT INTO outbox VALUES (3)')
  const first = await read()
  await first.until(() => first.rows.length === 3)
  const stored = endOf(first, '2')
  await first.source.stop()
  expect(parseLsn(await confirmedFlush())).toBeLessThan(stored)
  const second = await read({ lsn: stored, partial: null })
  await second.until(() => second.rows.length === 1)
  expect(second.texts()).toEqual(['3'])
})

test('a partly settled transaction goes on at its next row, with the numbers that the rows had', async () => {
  const { sql, read } = await open()
  await sql('INSERT INTO outbox VALUES (0)', 'INSERT INTO outbox SELECT generate_series(1, 5)')
  const first = await read()
  await first.until(() => commits(first).length === 2)
  await first.source.stop()
  const { commitLsn } = commits(first)[1]!
  const second = await read({ lsn: endOf(first, '0'), partial: { commitLsn, rows: 3 } })
  await second.until(() => commits(second).length === 1)
  expect(second.rows.map((row) => [row.tuple.text(0), row.ordinal])).toEqual([
    ['4', 3],
    ['5', 4],
  ])
})

test('a quiet outbox on a busy database makes idle marks, which may be acknowledged', async () => {
  const { sql, read, confirmedFlush } = await open()
  await sql('CREATE TABLE busy (n int)')
  const reader = await read(fromSlot, { walSenderTimeout: 1000, statusInterval: 100 })
  await sql('INSERT INTO busy SELECT generate_series(1, 1000)')
  await reader.until(() => reader.events.some((event) => event.kind === 'idle'))
  const idle = reader.events.findLast((event) => event.kind === 'idle')!
  expect(reader.rows).toEqual([])
  reader.source.acknowledge(idle.walEnd)
  await eventually(async () => parseLsn(await confirmedFlush()) >= idle.walEnd)
})
