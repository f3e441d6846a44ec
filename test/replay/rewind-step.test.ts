import { expect, test } from 'vitest'
import { BridgeError } from '../../src/base/errors.ts'
import {
  nextAbortStep,
  nextRewindStep,
  type RewindFacts,
  type RewindSlot,
  type RewindStep,
} from '../../src/replay/rewind-step.ts'
import type { StartPosition } from '../../src/source/source.ts'

const target = 0x1000n
const before = 0x2000n
const at = (lsn: bigint): StartPosition => ({ lsn, partial: null })

function slot(name: string, confirmedFlushLsn: bigint | undefined, changes: Partial<RewindSlot> = {}): RewindSlot {
  const usual = {
    plugin: 'pgoutput',
    database: 'shop',
    active: false,
    activePid: undefined,
    invalidation: undefined,
    failover: false,
  }
  return { ...usual, name, confirmedFlushLsn, ...changes }
}

const live = slot('w', 0x1f00n)
const staging = slot('w_rewind', 0x800n)
const replaced = slot('w', 0x800n)
const anchor = slot('w_anchor_20260131235959', 0x800n)

/** As right after the intent was written: the live slot has moved on, an anchor reaches back. */
function facts(changes: Partial<RewindFacts> = {}): RewindFacts {
  const intent = {
    slot: 'w',
    target: at(target),
    from: at(before),
    baseSlot: anchor.name,
    failover: false,
    startedBy: 'ann@shop1',
    startedAt: '2026-01-31T23:59:59.123456Z',
  }
  const names = { plugin: 'pgoutput', database: 'shop', stagingName: 'w_rewind', isStagingForeign: false }
  return { intent, ...names, checkpoint: 'before', live, staging: undefined, anchors: [anchor], ...changes }
}

/** The kind of the step, or the code of the refusal. */
function shown(step: RewindStep | BridgeError): string {
  if (step instanceof BridgeError) return step.code
  return step.kind === 'stage' ? `stage ${step.base}` : step.kind
}

const lost = { invalidation: 'wal_removed' }

test.each<[string, Partial<RewindFacts>, string, string]>([
  // A crash after each step leaves one of these, in this order.
  ['the intent is written', {}, `stage ${anchor.name}`, 'finish'],
  ['the copy is made', { staging }, 'move', 'unstage'],
  ['the position has moved', { staging, checkpoint: 'target' }, 'drop', 'restore'],
  ['the live slot is dropped', { staging, checkpoint: 'target', live: undefined }, 'replace', 'REWIND_UNFINISHED'],
  ['it is made anew', { staging, checkpoint: 'target', live: replaced }, 'unstage', 'restore'],
  ['the copy is dropped', { checkpoint: 'target', live: replaced }, 'finish', 'restore'],

  // The live slot was never told more than the target: it stays.
  ['the live slot reaches back itself', { live: replaced }, 'move', 'finish'],
  ['the live slot stands at the target', { live: slot('w', target) }, 'move', 'finish'],
  ['the live slot stands a byte beyond', { live: slot('w', target + 1n) }, `stage ${anchor.name}`, 'finish'],
  ['a server crash moved the live slot back', { staging, live: replaced, checkpoint: 'target' }, 'unstage', 'restore'],

  // Slots that are not what they should be.
  ['the live slot was missing from the start', { live: undefined }, `stage ${anchor.name}`, 'finish'],
  [
    'the live slot is invalidated',
    { live: slot('w', 0x800n, lost), staging, checkpoint: 'target' },
    'drop',
    'REWIND_UNFINISHED',
  ],
  ['the copy is invalidated, an anchor is left', { staging: slot('w_rewind', 0x800n, lost) }, 'restage', 'unstage'],
  [
    'the copy is invalidated after the drop, an anchor is left',
    { staging: slot('w_rewind', 0x800n, lost), live: undefined, checkpoint: 'target' },
    'restage',
    'REWIND_UNFINISHED',
  ],
  ['the copy was advanced by somebody', { staging: slot('w_rewind', target + 1n) }, 'restage', 'unstage'],
  ['the copy is still being made', { staging: slot('w_rewind', undefined) }, 'restage', 'unstage'],
  [
    'the copy was dropped by somebody',
    { checkpoint: 'target', live: undefined },
    `stage ${anchor.name}`,
    'REWIND_UNFINISHED',
  ],
  ['nothing reaches back', { anchors: [] }, 'REPLAY_OUT_OF_REACH', 'finish'],
  ['the anchor is invalidated', { anchors: [slot(anchor.name, 0x800n, lost)] }, 'REPLAY_OUT_OF_REACH', 'finish'],
  ['the anchor stands above', { anchors: [slot(anchor.name, target + 1n)] }, 'REPLAY_OUT_OF_REACH', 'finish'],
  [
    'the anchor is of another plugin',
    { anchors: [slot(anchor.name, 0x800n, { plugin: 'wal2json' })] },
    'REPLAY_OUT_OF_REACH',
    'finish',
  ],
  [
    'all is lost after the drop',
    { anchors: [], live: undefined, checkpoint: 'target' },
    'REPLAY_OUT_OF_REACH',
    'finish',
  ],
  [
    'all is lost after the drop, and the copy with it',
    { anchors: [], live: undefined, checkpoint: 'target', staging: slot('w_rewind', 0x800n, lost) },
    'REPLAY_OUT_OF_REACH',
    'unstage',
  ],
  // A copy that is good is all that is needed.
  ['the copy is there, the anchor is not', { staging, anchors: [] }, 'move', 'unstage'],

  // Slots of others, and slots in use, are not touched.
  [
    'the live slot is in use',
    { live: slot('w', 0x1f00n, { active: true, activePid: 7 }) },
    'BRIDGE_RUNNING',
    'BRIDGE_RUNNING',
  ],
  [
    'the new live slot is in use',
    { live: { ...replaced, active: true }, checkpoint: 'target' },
    'BRIDGE_RUNNING',
    'BRIDGE_RUNNING',
  ],
  ['the copy is in use', { staging: { ...staging, active: true } }, 'BRIDGE_RUNNING', 'BRIDGE_RUNNING'],
  ['another bridge took the name of the copy', { staging, isStagingForeign: true }, 'SLOT_NAME_TAKEN', 'finish'],
  [
    'another bridge took the name of the copy, and the row has moved',
    { staging: { ...staging, active: true }, isStagingForeign: true, checkpoint: 'target' },
    'SLOT_NAME_TAKEN',
    'restore',
  ],
  [
    'the live slot is physical',
    { live: slot('w', undefined, { plugin: undefined, database: undefined }) },
    'SLOT_WRONG_PLUGIN',
    'SLOT_WRONG_PLUGIN',
  ],
  ['the copy belongs to another database', { staging: { ...staging, database: 'x' } }, 'SLOT_WRONG_DATABASE', 'finish'],

  // A row that somebody else has changed.
  ['the row is elsewhere', { checkpoint: 'elsewhere' }, 'CHECKPOINT_FENCED', 'finish'],
  [
    'the row is elsewhere, the live slot dropped',
    { checkpoint: 'elsewhere', live: undefined, staging },
    'CHECKPOINT_FENCED',
    'CHECKPOINT_FENCED',
  ],
  ['the row is gone', { checkpoint: 'missing', staging }, 'CHECKPOINT_MISSING', 'unstage'],
  [
    'the row is gone, the live slot dropped',
    { checkpoint: 'missing', live: undefined, staging },
    'CHECKPOINT_MISSING',
    'CHECKPOINT_MISSING',
  ],
])('%s', (_, changes, resumes, aborts) => {
  expect([shown(nextRewindStep(facts(changes))), shown(nextAbortStep(facts(changes)))]).toEqual([resumes, aborts])
})

/** What each step does to the facts. */
function after(found: RewindFacts, step: RewindStep): RewindFacts {
  switch (step.kind) {
    case 'stage':
      return { ...found, staging: { ...found.anchors.find(({ name }) => name === step.base)!, name: 'w_rewind' } }
    case 'restage':
    case 'unstage':
      return { ...found, staging: undefined }
    case 'move':
      return { ...found, checkpoint: 'target' }
    case 'restore':
      return { ...found, checkpoint: 'before' }
    case 'drop':
      return { ...found, live: undefined }
    case 'replace':
      return { ...found, live: { ...found.staging!, name: 'w' } }
    case 'failover':
      return { ...found, live: { ...found.live!, failover: true } }
    case 'finish':
      return found
  }
}

// A copy does not have it: stand-bys no longer synchronized the slot, and nobody had said so.
test('a live slot that had failover gets it again, when it was replaced, also by one that gives up', () => {
  const begun = facts()
  const intent = { ...begun.intent, failover: true }
  const found = { ...begun, intent, live: { ...live, failover: true } }
  const { kinds, end } = walk(found, nextRewindStep)
  expect(kinds).toEqual([`stage ${anchor.name}`, 'move', 'drop', 'replace', 'unstage', 'failover', 'finish'])
  expect(end.live).toMatchObject({ confirmedFlushLsn: 0x800n, failover: true })
  const made = { ...found, live: replaced, staging, checkpoint: 'target' } as const
  expect(walk(made, nextAbortStep).kinds).toEqual(['restore', 'unstage', 'failover', 'finish'])
  // One that was not replaced still has it.
  expect(walk({ ...found, staging }, nextAbortStep).kinds).toEqual(['unstage', 'finish'])
  const kept = { ...found, live: { ...replaced, failover: true } }
  expect(walk(kept, nextRewindStep).kinds).toEqual(['move', 'finish'])
})

/** All steps, from these facts on to the end. */
function walk(start: RewindFacts, next: typeof nextRewindStep): { kinds: string[]; end: RewindFacts } {
  const kinds: string[] = []
  let found = start
  for (;;) {
    const step = next(found)
    kinds.push(shown(step))
    if (step instanceof BridgeError || step.kind === 'finish' || kinds.length > 20) return { kinds, end: found }
    found = after(found, step)
  }
}

const slots = (name: string) => [undefined, slot(name, 0x800n), slot(name, 0x1f00n), slot(name, 0x800n, lost)]
const everyState = slots('w').flatMap((one) =>
  slots('w_rewind').flatMap((two) =>
    (['before', 'target'] as const).flatMap((checkpoint) =>
      [[], [anchor]].map((anchors) => ({ live: one, staging: two, checkpoint, anchors })),
    ),
  ),
)

test('from every state it ends with a live slot that streams from the target, or gives up before anything is dropped', () => {
  for (const state of everyState) {
    const { kinds, end } = walk(facts(state), nextRewindStep)
    if (kinds.at(-1) === 'finish') {
      expect([end.checkpoint, end.staging, end.live?.invalidation]).toEqual(['target', undefined, undefined])
      expect(end.live!.confirmedFlushLsn! <= target).toBe(true)
    } else expect(kinds).toEqual(['REPLAY_OUT_OF_REACH'])
  }
})

test('at no moment on the way does nothing but the dropped slot hold what lies above the target', () => {
  for (const state of everyState) {
    let found = facts(state)
    for (const kind of walk(found, nextRewindStep).kinds) {
      const step = nextRewindStep(found)
      if (step instanceof BridgeError || step.kind === 'finish') break
      const holds = (one: RewindSlot | undefined) =>
        one?.invalidation === undefined && (one?.confirmedFlushLsn ?? target + 1n) <= target
      if (step.kind === 'drop') expect(holds(found.staging), kind).toBe(true)
      if (step.kind === 'unstage') expect(holds(found.live), kind).toBe(true)
      // Whoever passed over the intent would find a slot that does not fit the row, or one that streams from it.
      found = after(found, step)
      if (found.checkpoint === 'before' && state.live !== undefined && state.checkpoint === 'before')
        expect(found.live).toBe(state.live)
    }
  }
})

test('a rewind that is given up before the drop leaves row and live slot as they were, wherever it was interrupted', () => {
  let found = facts()
  for (const expected of ['stage', 'move', 'drop']) {
    const { kinds, end } = walk(found, nextAbortStep)
    expect(kinds.at(-1)).toBe('finish')
    expect([end.checkpoint, end.live, end.staging]).toEqual(['before', live, undefined])
    const step = nextRewindStep(found) as RewindStep
    expect(step.kind).toBe(expected)
    found = after(found, step)
  }
  expect(shown(nextAbortStep(found))).toBe('REWIND_UNFINISHED')
})

test('refusals name what they found', () => {
  const text = (changes: Partial<RewindFacts>) => (nextRewindStep(facts(changes)) as BridgeError).message
  expect(text({ anchors: [] })).toMatch(/no slot reaches back to 0\/1000 any more: slot w_rewind is gone/)
  expect(text({ anchors: [], staging: slot('w_rewind', 0x800n, lost) })).toMatch(
    /w_rewind is invalidated \(wal_removed\)/,
  )
  expect(text({ anchors: [], staging: slot('w_rewind', 0x1800n) })).toMatch(/w_rewind is confirmed up to 0\/1800/)
  expect(text({ live: { ...live, active: true, activePid: 4711 } })).toMatch(/slot w is in use .*4711/)
  expect(text({ staging: { ...staging, database: 'other' } })).toMatch(
    /w_rewind has the plugin pgoutput .*other.*expected pgoutput and shop/,
  )
})
