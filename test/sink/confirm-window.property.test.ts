import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ConfirmWindow, type WindowRow } from '../../src/sink/confirm-window.ts'
import { type NaiveRow, NaiveWindow } from './naive-window.ts'
import { windowRow } from './window-rows.ts'

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('row' as const), size: fc.nat(900) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('commit' as const), gap: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('idle' as const), ahead: fc.integer({ min: -9, max: 9 }) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('send' as const), count: fc.integer({ min: 1, max: 8 }) }) },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('answer' as const),
      ack: fc.boolean(),
      multiple: fc.boolean(),
      /** From the last tag given back; below 0 one that was never given. */
      back: fc.integer({ min: -2, max: 12 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('lost' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('reset' as const) }) },
)
const limits = fc.record({ messages: fc.integer({ min: 1, max: 12 }), bytes: fc.integer({ min: 600, max: 9000 }) })

test('does what a naive window does, whatever comes in whatever order', () => {
  fc.assert(
    fc.property(limits, fc.array(step, { maxLength: 120 }), (bounds, steps) => {
      const window = new ConfirmWindow(bounds)
      const model = new NaiveWindow(bounds)
      const pairs = new Map<WindowRow, NaiveRow>()
      const settledOnce = new Set<WindowRow>()
      let end = 0n
      let open: { lsn: bigint; rows: number } | undefined
      for (const one of steps) {
        const before = model.settled
        if (one.kind === 'row') {
          open ??= { lsn: end + 1n, rows: 0 }
          const row: NaiveRow = { commitLsn: open.lsn, ordinal: open.rows++, bytes: 512 + one.size, state: 'unsent' }
          model.push(row)
          window.pushRow(windowRow({ commitLsn: row.commitLsn, ordinal: row.ordinal, body: 'x'.repeat(one.size) }))
          pairs.set(window.find(row.commitLsn, row.ordinal)!, row)
        } else if (one.kind === 'commit') {
          const lsn = open?.lsn ?? end + BigInt(one.gap)
          end = lsn + 8n
          open = undefined
          model.push(end)
          window.pushCommit(lsn, end)
        } else if (one.kind === 'idle') {
          window.pushIdle(end + BigInt(one.ahead))
          if (open === undefined && one.ahead > 0) {
            end += BigInt(one.ahead)
            model.push(end)
          }
        } else if (one.kind === 'send') {
          for (let i = 0; i < one.count; i++) {
            const row = window.nextUnsent()
            expect(row && pairs.get(row)).toBe(model.next())
            if (row === undefined) break
            pairs.get(row)!.state = 'in-flight'
            model.tags.push(pairs.get(row)!)
            expect(window.sent(row, 0)).toBe(model.tags.length)
          }
        } else if (one.kind === 'answer') {
          const tag = model.tags.length - one.back
          const expected = tag > 0 ? model.answered(tag, one.multiple) : undefined
          if (tag > 0 || !one.multiple) {
            const seen: (NaiveRow | undefined)[] = []
            const known = window.answer(tag, one.multiple, (row) => {
              seen.push(pairs.get(row))
              if (one.ack) {
                expect(settledOnce.has(row)).toBe(false)
                settledOnce.add(row)
                window.settle(row)
              } else window.fail(row)
            })
            expect(known).toBe(expected !== undefined)
            expect(seen).toEqual(expected ?? [])
            for (const row of expected ?? []) row.state = one.ack ? 'settled' : 'unsent'
          }
        } else if (one.kind === 'lost') {
          window.channelLost()
          model.channelLost()
        } else {
          window.reset(window.settled)
          model.reset()
          const { lsn, partial } = model.settled
          end = lsn
          open = partial === null ? undefined : { lsn: partial.commitLsn, rows: partial.rows }
        }
        expect(window.settled).toEqual(model.settled)
        expect(window.settled.lsn).toBeGreaterThanOrEqual(before.lsn)
        expect([window.inFlight, window.messages]).toEqual([model.inFlight.length, model.held.length])
        expect(window.bytes).toBe(model.held.reduce((sum, row) => sum + row.bytes, 0))
      }
    }),
    { numRuns: 400 },
  )
})
