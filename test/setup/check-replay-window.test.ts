import { expect, test } from 'vitest'
import { type WindowCosts, windowFindings } from '../../src/setup/check-replay-window.ts'

const GiB = 1024 ** 3
const anchors = [{ name: 'shop_anchor_20260131120000', retainedBytes: 1234 }]

function findings(changes: Partial<WindowCosts> = {}, server: Partial<WindowCosts['server']> = {}) {
  return windowFindings({
    slot: 'shop',
    window: { time: 86_400_000, bytes: GiB },
    server: { slots: { used: 2, limit: 10 }, maxSlotWalKeepSize: -1, idleSlotTimeout: null, ...server },
    anchors: [],
    catalogAge: undefined,
    ...changes,
  })
}

test('names what the window costs, and how its anchors will be named', () => {
  const [finding, ...rest] = findings()
  expect(rest).toEqual([])
  expect(finding).toMatchObject({ name: 'replay window', ok: true })
  expect(finding!.detail).toMatch(/^1d or 1GiB, .*shop_anchor_<UTC time>.*up to 2GiB of WAL.*3 slots.*catalogs.*alerts/)
})

test('names the anchors that are there, what they retain, and how far they hold back the vacuum of catalogs', () => {
  const [finding] = findings({ anchors, catalogAge: 77 })
  expect(finding!.detail).toMatch(/shop_anchor_20260131120000 \(retains 1234 bytes\).*now 77 transactions/)
})

test.each([
  ['too few slots are free', {}, { slots: { used: 7, limit: 10 } }, '3 of 10 replication slots are free'],
  ['the WAL of a slot is limited below twice the bytes', {}, { maxSlotWalKeepSize: 2047 }, 'less than 2GiB'],
  ['PostgreSQL gives up idle slots', {}, { idleSlotTimeout: 600 }, 'idle_replication_slot_timeout is 600 s'],
  ['the name of the slot is too long', { slot: 'x'.repeat(42) }, {}, '42 characters, expected 41 at most'],
  ['anchors are left over', { anchors, window: { time: 0, bytes: 0 } }, {}, 'which "run" removes: shop_anchor_'],
])('warns when %s', (_, changes, server, text) => {
  const warnings = findings(changes, server).filter(({ ok }) => !ok)
  expect(warnings).toEqual([
    expect.objectContaining({ name: 'replay window', severity: 'warning', detail: expect.stringContaining(text) }),
  ])
})

test.each([
  ['slots for what is not made yet', { anchors }, { slots: { used: 7, limit: 10 } }],
  ['exactly twice the bytes', {}, { maxSlotWalKeepSize: 2048 }],
  ['no timeout', {}, { idleSlotTimeout: 0 }],
  ['the longest name', { slot: 'x'.repeat(41) }, {}],
  ['a window that is turned off', { window: { time: 0, bytes: 0 } }, { slots: { used: 10, limit: 10 } }],
])('does not warn: %s', (_, changes, server) => {
  expect(findings(changes, server).filter(({ ok }) => !ok)).toEqual([])
})
