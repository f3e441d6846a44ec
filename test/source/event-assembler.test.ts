import { expect, test } from 'vitest'
import { EventAssembler } from '../../src/source/event-assembler.ts'
import type { SourceCounters, SourceRelation, SourceTransaction, StartPosition } from '../../src/source/source.ts'
import { TextTuple } from '../../src/source/wal-tuple.ts'
import { thrownBy } from './recorder.ts'

const relation: SourceRelation = { schema: 'public', table: 'outbox', columns: [{ name: 'id', type: 'uuid' }] }
const start = (lsn: bigint, partial: StartPosition['partial'] = null): StartPosition => ({ lsn, partial })

function transaction(commitLsn: bigint): SourceTransaction {
  return {
    commitLsn,
    commitLsnText: `0/${commitLsn.toString(16).toUpperCase()}`,
    committedAt: '2026-01-31T23:59:59.123456Z',
    committedAtSeconds: 1_769_903_999,
  }
}

function assemble(position: StartPosition) {
  const counters: SourceCounters = { rows: 0, transactions: 0, bytes: 0, ignored: 0, keepalives: 0 }
  const assembler = new EventAssembler(position, counters)
  const feed = (commitLsn: bigint, rows: number, endLsn = commitLsn + 0x30n) => {
    assembler.begin(transaction(commitLsn))
    for (let row = 0; row < rows; row++) assembler.row(relation, new TextTuple([`${commitLsn}-${row}`]))
    assembler.commit(commitLsn, endLsn)
  }
  return { assembler, counters, feed }
}

/** Events in short: `row 100/0`, `commit 130`, `idle 200` (LSNs in hexadecimal). */
function brief(assembler: EventAssembler): string[] {
  return assembler.take().map((event) => {
    if (event.kind === 'row') return `row ${event.transaction.commitLsn.toString(16)}/${event.ordinal}`
    return event.kind === 'commit' ? `commit ${event.endLsn.toString(16)}` : `idle ${event.walEnd.toString(16)}`
  })
}

test('rows are numbered from 0 in each transaction', () => {
  const { assembler, feed, counters } = assemble(start(0x10n))
  feed(0x100n, 2)
  feed(0x200n, 1)
  expect(brief(assembler)).toEqual(['row 100/0', 'row 100/1', 'commit 130', 'row 200/0', 'commit 230'])
  expect(counters).toMatchObject({ rows: 3, transactions: 2 })
})

test('a transaction without rows still makes a commit', () => {
  const { assembler, feed } = assemble(start(0x10n))
  feed(0x100n, 0)
  expect(brief(assembler)).toEqual(['commit 130'])
})

test('a transaction may commit exactly where the one before it ended', () => {
  const { assembler, feed } = assemble(start(0x100n))
  feed(0x100n, 1)
  feed(0x130n, 1)
  expect(brief(assembler)).toHaveLength(4)
})

test('a transaction that committed below what was received is refused', () => {
  const { assembler, feed } = assemble(start(0x10n))
  feed(0x100n, 1)
  expect(thrownBy(() => assembler.begin(transaction(0x12fn)))).toMatchObject({ code: 'ASSERTION_FAILED' })
})

test('rows settled before are passed over, the others keep their ordinals', () => {
  const { assembler, feed, counters } = assemble(start(0x10n, { commitLsn: 0x100n, rows: 2 }))
  feed(0x100n, 4)
  feed(0x200n, 1)
  expect(brief(assembler)).toEqual(['row 100/2', 'row 100/3', 'commit 130', 'row 200/0', 'commit 230'])
  expect(counters.rows).toBe(3)
})

test('a transaction of which all rows were settled makes only its commit', () => {
  const { assembler, feed } = assemble(start(0x10n, { commitLsn: 0x100n, rows: 2 }))
  feed(0x100n, 2)
  expect(brief(assembler)).toEqual(['commit 130'])
})

test('transactions without outbox rows may come before the partly settled one', () => {
  const { assembler, feed } = assemble(start(0x10n, { commitLsn: 0x100n, rows: 1 }))
  feed(0x50n, 0)
  assembler.keepalive(0x90n)
  feed(0x100n, 2)
  expect(brief(assembler)).toEqual(['commit 80', 'idle 90', 'row 100/1', 'commit 130'])
})

test('a partly settled transaction with fewer rows than were settled ends the session', () => {
  const { feed } = assemble(start(0x10n, { commitLsn: 0x100n, rows: 3 }))
  expect(thrownBy(() => feed(0x100n, 2))).toMatchObject({
    code: 'ASSERTION_FAILED',
    message: expect.stringContaining('has 2 outbox rows, 3 of them'),
  })
})

test('a stream that passes the partly settled transaction ends the session', () => {
  const position = start(0x10n, { commitLsn: 0x100n, rows: 3 })
  expect(thrownBy(() => assemble(position).feed(0x101n, 1))).toMatchObject({ code: 'ASSERTION_FAILED' })
  expect(thrownBy(() => assemble(position).assembler.keepalive(0x102n))).toMatchObject({ code: 'ASSERTION_FAILED' })
})

test('a keep-alive outside of a transaction is an idle mark, in its place between the commits', () => {
  const { assembler, feed, counters } = assemble(start(0x10n))
  feed(0x100n, 1)
  assembler.keepalive(0x200n)
  feed(0x300n, 0)
  expect(brief(assembler)).toEqual(['row 100/0', 'commit 130', 'idle 200', 'commit 330'])
  expect(counters.keepalives).toBe(1)
})

test('a keep-alive inside of a transaction, or one that is not above what was received, is no idle mark', () => {
  const { assembler, feed } = assemble(start(0x10n))
  assembler.keepalive(0x10n)
  assembler.begin(transaction(0x100n))
  assembler.keepalive(0x200n)
  assembler.commit(0x100n, 0x130n)
  assembler.keepalive(0x130n)
  assembler.keepalive(0x50n)
  feed(0x130n, 0)
  expect(brief(assembler)).toEqual(['commit 130', 'commit 160'])
})

test('received follows commits and idle marks, and stays where it is inside of a transaction', () => {
  const { assembler } = assemble(start(0x10n))
  expect(assembler.received).toBe(0x10n)
  assembler.begin(transaction(0x100n))
  assembler.row(relation, new TextTuple(['a']))
  expect(assembler.received).toBe(0x10n)
  assembler.commit(0x100n, 0x130n)
  expect(assembler.received).toBe(0x130n)
  assembler.keepalive(0x200n)
  expect(assembler.received).toBe(0x200n)
})

test.each<[string, (assembler: EventAssembler) => void]>([
  ['a row outside of a transaction', (a) => a.row(relation, new TextTuple(['a']))],
  ['a commit outside of a transaction', (a) => a.commit(0x100n, 0x130n)],
  [
    'a begin inside of a transaction',
    (a) => {
      a.begin(transaction(0x100n))
      a.begin(transaction(0x200n))
    },
  ],
  [
    'the commit of another transaction',
    (a) => {
      a.begin(transaction(0x100n))
      a.commit(0x101n, 0x130n)
    },
  ],
  [
    'a commit that ends before it starts',
    (a) => {
      a.begin(transaction(0x100n))
      a.commit(0x100n, 0x100n)
    },
  ],
])('%s is a protocol error', (_name, disorder) => {
  expect(thrownBy(() => disorder(assemble(start(0x10n)).assembler))).toMatchObject({ code: 'SOURCE_PROTOCOL' })
})
