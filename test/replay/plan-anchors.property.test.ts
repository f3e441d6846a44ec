import assert from 'node:assert'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Anchor } from '../../src/replay/anchor.ts'
import { anchorTime } from '../../src/replay/anchor-name.ts'
import { anchors_max, planAnchors } from '../../src/replay/plan-anchors.ts'
import type { Degradation } from '../../src/replay/window-degradation.ts'

const slot = 'shop'
const bytes = 64 * 1024 * 1024
const time = 600_000

/** A server on which WAL is written, a live slot follows, and anchors are kept as planned. */
class Simulation {
  now = Date.parse('2026-01-31T12:00:00.000Z')
  walEnd = 10n ** 12n
  live = this.walEnd
  anchors: Anchor[] = []
  rate: number | undefined
  growth = 0
  snapshot = this.walEnd
  #snapshotAt = this.now
  refreshedAt: bigint | undefined
  loss: Degradation | undefined
  made = 0
  /** History begins with the first anchor. */
  #start: { readonly now: number; readonly lsn: bigint } | undefined
  wait = 100

  /**
   * One tick, after so many bytes; `held` is what a long transaction keeps the live slot's restart LSN behind its position.
   */
  tick(grown: bigint, liveTo: bigint, held: bigint): void {
    this.now += this.wait
    this.walEnd += grown
    // At its worst: just before what the tick does.
    assert.ok(this.retained <= 2n * BigInt(bytes), `retained ${this.retained}`)
    this.live = liveTo
    const seen = Number(grown) / this.wait
    this.rate = Math.max(seen, (this.rate ?? 0) * 0.5 ** (this.wait / 2500))
    this.growth = Math.max(Number(grown), this.growth * 0.5 ** (this.wait / 10_000))
    // PostgreSQL writes one every 15 seconds; what is written now counts with the next tick.
    const snapshot = this.snapshot < this.live ? this.snapshot : this.live
    const restartLsn = held > this.live - snapshot ? this.live - held : snapshot
    if (this.now - this.#snapshotAt >= 15_000) this.#writeSnapshot()
    const live = { confirmedFlushLsn: this.live, restartLsn, invalidation: undefined, active: true }
    const plan = planAnchors({
      now: new Date(this.now),
      slot,
      walEnd: this.walEnd,
      live,
      anchors: this.anchors,
      window: { time, bytes },
      walRate: this.rate,
      tickGrowth: this.growth,
      refreshedAt: this.refreshedAt,
      known: this.anchors.map(({ name }) => name),
      loss: this.loss,
    })
    this.loss = plan.loss
    if (plan.refresh) {
      this.refreshedAt = this.walEnd
      this.#writeSnapshot()
    }
    const dropped = new Set(plan.drops.map(({ name }) => name))
    this.anchors = this.anchors.filter(({ name }) => !dropped.has(name))
    if (plan.create !== undefined) {
      this.made++
      this.#start ??= { now: this.now, lsn: this.live }
      this.anchors.push({ ...live, name: plan.create, madeAt: anchorTime(slot, plan.create)!, active: false })
    }
    this.wait = plan.wait
    assert.ok(this.anchors.length <= anchors_max)
  }

  #writeSnapshot(): void {
    this.snapshot = this.walEnd
    this.#snapshotAt = this.now
  }

  get retained(): bigint {
    return this.anchors.reduce((most, { restartLsn }) => {
      const held = this.walEnd - restartLsn!
      return held > most ? held : most
    }, 0n)
  }

  /** Whether a window that is old enough reaches back by `bytes` or `time`. */
  get coversWindow(): boolean {
    const ageOf = (now: number, lsn: bigint) => this.now - now >= time || this.walEnd - lsn >= BigInt(bytes)
    // The name of an anchor has whole seconds.
    if (this.#start === undefined || !ageOf(this.#start.now + 1000, this.#start.lsn)) return true
    return this.anchors.some(({ madeAt, confirmedFlushLsn }) => ageOf(madeAt.getTime(), confirmedFlushLsn!))
  }
}

/** Bytes a second over so many ticks: from nothing to 40 MB/s, in steps and in quiet spells. */
const phases = fc.array(
  fc.record({
    rate: fc.oneof(
      fc.constant(0),
      fc.integer({ max: 100_000, min: 0 }),
      fc.integer({ min: 0, max: 3_000_000 }),
      fc.integer({ min: 0, max: 40_000_000 }),
    ),
    ticks: fc.integer({ min: 1, max: 300 }),
  }),
  { minLength: 3, maxLength: 12, size: 'max' },
)

test('at rates that do not jump by more than the reserve, no anchor retains twice the bytes, and the window is whole', () => {
  fc.assert(
    fc.property(phases, (load) => {
      const server = new Simulation()
      let rate = 0
      for (const { rate: aim, ticks } of load) {
        for (let tick = 0; tick < ticks; tick++) {
          // Load rises by a third a tick at most; a burst from rest is half of the smallest reserve.
          rate = Math.min(aim, Math.max((rate * 4) / 3, (bytes / 8 / server.wait) * 1000))
          const grown = BigInt(Math.round((rate * server.wait) / 1000))
          server.tick(grown, server.walEnd + grown, 0n)
          assert.ok(server.coversWindow, 'the window is not whole')
        }
      }
    }),
    { numRuns: 40 },
  )
})

test('whatever the live slot does, with outages of the broker and long transactions, the bound holds and nothing churns', () => {
  const steps = fc.array(
    fc.record({
      // In parts of the reserve that is kept without any rate.
      grown: fc.integer({ min: 0, max: 100 }),
      liveMoves: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 100 }), fc.constant(1000)),
      held: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 3 * bytes })),
      ticks: fc.integer({ min: 1, max: 100 }),
    }),
    { minLength: 3, maxLength: 20, size: 'max' },
  )
  fc.assert(
    fc.property(steps, (history) => {
      const server = new Simulation()
      const start = { now: server.now, walEnd: server.walEnd }
      for (const { grown: parts, liveMoves, held, ticks } of history) {
        for (let tick = 0; tick < ticks; tick++) {
          const grown = (BigInt(bytes) / 4n / 100n) * BigInt(parts)
          const target = server.live + (BigInt(bytes) / 800n) * BigInt(liveMoves)
          const end = server.walEnd + grown
          server.tick(grown, target < end ? target : end, BigInt(held))
        }
      }
      const windows = Number(server.walEnd - start.walEnd) / bytes + (server.now - start.now) / time
      expect(server.made).toBeLessThanOrEqual(2 + Math.ceil(windows * 4))
    }),
    { numRuns: 100 },
  )
})
