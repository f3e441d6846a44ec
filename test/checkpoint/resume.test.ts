import { expect, test } from 'vitest'
import { BridgeError } from '../../src/base/errors.ts'
import { decideStart, type StartFacts } from '../../src/checkpoint/resume.ts'
import { parseTimelineHistory } from '../../src/checkpoint/timeline-history.ts'
import type { StartPosition } from '../../src/source/source.ts'

const at = (lsn: bigint, commitLsn?: bigint, rows = 2): StartPosition => ({
  lsn,
  partial: commitLsn === undefined ? null : { commitLsn, rows },
})

const checkpoint = {
  slot: 'shop',
  position: at(0x2000n),
  systemIdentifier: '7000',
  timeline: 1,
  epoch: 4n,
  owner: 'host/1',
  version: 9n,
  events: 3n,
  storedAt: '2026-01-31T23:59:59.123456Z',
}
const slot = { name: 'shop', plugin: 'pgoutput', database: 'shopdb', invalidation: undefined, confirmedFlush: 0x1f00n }
const server = {
  systemIdentifier: '7000',
  timeline: 1,
  walEnd: 0x9000n,
  inRecovery: false,
  version: 150020,
  database: 'shopdb',
  postmasterStartTime: '2026-01-31T08:00:00.000001Z',
}
const remembered = {
  position: at(0x3000n),
  version: 9n,
  systemIdentifier: '7000',
  timeline: 1,
  postmasterStartTime: server.postmasterStartTime,
}
const sound: StartFacts = { slotName: 'shop', plugin: 'pgoutput', checkpoint, slot, server }

const timeline2 = { server: { ...server, timeline: 2 } }
const switchAt = (switchLsn: bigint) => [{ timeline: 1, switchLsn }]

const guards: [string, Partial<StartFacts>, string, string][] = [
  [
    'the server is too old',
    { server: { ...server, version: 130018 } },
    'SOURCE_VERSION_UNSUPPORTED',
    '130018, expected 140000',
  ],
  ['the server is a stand-by', { server: { ...server, inRecovery: true } }, 'SOURCE_IN_RECOVERY', 'expected a primary'],
  [
    'neither slot nor checkpoint exist',
    { slot: undefined, checkpoint: undefined },
    'SLOT_MISSING',
    'neither slot shop',
  ],
  ['the checkpoint is missing', { checkpoint: undefined }, 'CHECKPOINT_MISSING', 'slot shop exists'],
  [
    'the slot is missing',
    { slot: undefined },
    'SLOT_MISSING',
    'LSN 0/2000 was stored for it: events between there and the WAL end 0/9000',
  ],
  [
    'the slot is a physical one',
    { slot: { ...slot, plugin: null, database: null } },
    'SLOT_WRONG_PLUGIN',
    'is a physical slot, expected a logical slot with pgoutput',
  ],
  [
    'the slot has another plugin',
    { slot: { ...slot, plugin: 'wal2json' } },
    'SLOT_WRONG_PLUGIN',
    'has the plugin wal2json, expected',
  ],
  [
    'the slot belongs to another database',
    { slot: { ...slot, database: 'crm' } },
    'SLOT_WRONG_DATABASE',
    'belongs to database crm, expected shopdb',
  ],
  [
    'the slot is invalidated',
    { slot: { ...slot, invalidation: 'wal_removed', confirmedFlush: null } },
    'SLOT_INVALIDATED',
    '(wal_removed); the stored LSN is 0/2000',
  ],
  [
    'the slot is still being created',
    { slot: { ...slot, confirmedFlush: null } },
    'SLOT_ACTIVE',
    'still being created',
  ],
  [
    'the slot is one byte ahead',
    { slot: { ...slot, confirmedFlush: 0x2001n } },
    'SLOT_AHEAD',
    'confirmed up to 0/2001, above the stored 0/2000: 1 bytes',
  ],
  [
    'the system identifier changed',
    { server: { ...server, systemIdentifier: '7001' } },
    'SYSTEM_CHANGED',
    'identifier 7000, but the server has 7001',
  ],
  [
    'the stored LSN is one byte beyond the WAL',
    { server: { ...server, walEnd: 0x1fffn } },
    'STORED_AHEAD_OF_WAL',
    "0/2000 lies beyond the server's WAL end 0/1FFF",
  ],
  [
    'the timeline changed and its history is unknown',
    timeline2,
    'TIMELINE_DIVERGED',
    "timeline 1, which is no ancestor of the server's timeline 2",
  ],
  [
    'the timeline is no ancestor',
    { ...timeline2, timelineHistory: [{ timeline: 7, switchLsn: 0x8000n }] },
    'TIMELINE_DIVERGED',
    'no ancestor',
  ],
  [
    'the server went back to an older timeline',
    { checkpoint: { ...checkpoint, timeline: 3 }, ...timeline2, timelineHistory: switchAt(0x8000n) },
    'TIMELINE_DIVERGED',
    'timeline 3, which is no ancestor',
  ],
  [
    'the stored LSN is one byte beyond the switch',
    { ...timeline2, timelineHistory: switchAt(0x1fffn) },
    'TIMELINE_DIVERGED',
    '0/2000 of timeline 1 lies beyond 0/1FFF',
  ],
]

test.each(guards)('it does not start when %s', (_name, changes, code, text) => {
  // The memory of the last session must not get round any guard.
  for (const facts of [
    { ...sound, ...changes },
    { ...sound, remembered, ...changes },
  ]) {
    const decision = decideStart(facts)
    expect(decision).toBeInstanceOf(BridgeError)
    expect(decision).toMatchObject({ code })
    expect((decision as BridgeError).message).toContain(text)
  }
})

const starts: [string, Partial<StartFacts>, StartPosition][] = [
  ['at the stored LSN', {}, at(0x2000n)],
  [
    'inside the transaction that is settled in part',
    { checkpoint: { ...checkpoint, position: at(0x2000n, 0x2400n) } },
    at(0x2000n, 0x2400n),
  ],
  ['with the slot exactly at the stored LSN', { slot: { ...slot, confirmedFlush: 0x2000n } }, at(0x2000n)],
  ['with the stored LSN exactly at the WAL end', { server: { ...server, walEnd: 0x2000n } }, at(0x2000n)],
  [
    'with the stored LSN exactly at the switch of the timeline',
    { ...timeline2, timelineHistory: switchAt(0x2000n) },
    at(0x2000n),
  ],
  ['at the position in memory', { remembered }, at(0x3000n)],
  [
    'at the position in memory inside a transaction',
    { remembered: { ...remembered, position: at(0x2000n, 0x2400n) } },
    at(0x2000n, 0x2400n),
  ],
  ['at the stored LSN when the row changed meanwhile', { remembered: { ...remembered, version: 8n } }, at(0x2000n)],
  [
    'at the stored LSN when memory is of another cluster',
    { remembered: { ...remembered, systemIdentifier: '1' } },
    at(0x2000n),
  ],
  ['at the stored LSN when memory is of another timeline', { remembered: { ...remembered, timeline: 2 } }, at(0x2000n)],
  [
    'at the stored LSN when the server was restarted',
    { remembered: { ...remembered, postmasterStartTime: '2026-02-01T00:00:00.000000Z' } },
    at(0x2000n),
  ],
  [
    'at the stored LSN when memory lies beyond the WAL',
    { remembered: { ...remembered, position: at(0x9001n) } },
    at(0x2000n),
  ],
  [
    'at the stored LSN when memory lies below it',
    { remembered: { ...remembered, position: at(0x1fffn) } },
    at(0x2000n),
  ],
  [
    'after a promotion inside a transaction that the new timeline has',
    { checkpoint: { ...checkpoint, position: at(0x2000n, 0x2400n) }, ...timeline2, timelineHistory: switchAt(0x2401n) },
    at(0x2000n, 0x2400n),
  ],
  [
    'after a promotion at the first row of a transaction that the new timeline does not have',
    { checkpoint: { ...checkpoint, position: at(0x2000n, 0x2400n) }, ...timeline2, timelineHistory: switchAt(0x2400n) },
    at(0x2000n),
  ],
]

test.each(starts)('it starts %s', (_name, changes, start) => {
  expect(decideStart({ ...sound, ...changes })).toMatchObject({ start })
})

test('it tells what came from memory, and what counts as stored', () => {
  expect(decideStart({ ...sound, remembered })).toEqual({ start: at(0x3000n), stored: at(0x2000n), from: 'remembered' })
  expect(decideStart(sound)).toEqual({ start: at(0x2000n), stored: at(0x2000n), from: 'stored' })
})

test('a timeline history file gives the switch of each ancestor', () => {
  const content = '1\t0/3000158\tno recovery target specified\n\n# by hand\n2\t1A/4000060\tbefore 2026-01-01\n'
  expect(parseTimelineHistory(content)).toEqual([
    { timeline: 1, switchLsn: 0x3000158n },
    { timeline: 2, switchLsn: 0x1a04000060n },
  ])
  expect(parseTimelineHistory('')).toEqual([])
  expect(() => parseTimelineHistory('one\t0/1\tx')).toThrow('not a line of a timeline history: "one')
})
