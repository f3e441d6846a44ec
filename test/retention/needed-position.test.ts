import { expect, test } from 'vitest'
import { lowestNeed } from '../../src/retention/needed-position.ts'
import type { Need } from '../../src/retention/retention.ts'

const server = { systemIdentifier: '7000', timeline: 2, timelineHistory: [{ timeline: 1, switchLsn: 1000n }] }
const need = (changes: Partial<Need>): Need => ({
  what: 'slot a',
  kind: 'checkpoint',
  lsn: 5000n,
  systemIdentifier: '7000',
  timeline: 2,
  ...changes,
})

test.each<[string, Need[], bigint | RegExp]>([
  ['one slot', [need({})], 5000n],
  ['the slot that lags', [need({}), need({ lsn: 4000n }), need({ lsn: 6000n })], 4000n],
  ['a replay below the slots', [need({}), need({ kind: 'replay', lsn: 3000n })], 3000n],
  ['a slot of the timeline before, below the switch', [need({}), need({ timeline: 1, lsn: 1000n })], 1000n],
  ['a slot of the timeline before, above the switch', [need({}), need({ timeline: 1, lsn: 1001n })], /is not known/],
  ['a slot of another cluster', [need({}), need({ systemIdentifier: '1', lsn: 9000n })], /system 1.*is not known/],
  ['a slot of a timeline that is none of ours', [need({ timeline: 3 })], /is not known/],
  ['a replay of another cluster', [need({}), need({ kind: 'replay', systemIdentifier: '1', lsn: 1n })], 5000n],
  ['no slot', [], /no row/],
  ['a replay and no slot', [need({ kind: 'replay' })], 5000n],
])('%s', (_, needs, expected) => {
  const found = lowestNeed(needs, server)
  if (typeof expected === 'bigint') expect(found).toMatchObject({ lsn: expected })
  else expect(found).toMatch(expected)
})
