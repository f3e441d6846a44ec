import { describe, expect, it } from 'vitest'
import { describeFigures, runCampaign } from './campaign.ts'
import { runHistory } from './history.ts'

// What each of the guarantees is broken with, and that these histories catch it, is in mutations.md.

const histories = 10_000
/** Fixed, so that a build is repeatable; npm run simulate tries others. */
const seed = Number(process.env.WAL2RABBIT_SIMULATION_SEED ?? 1)

describe('the core, without I/O', () => {
  it(`keeps its guarantees in ${histories} histories from seed ${seed} on`, { timeout: 300_000 }, async () => {
    const figures = await runCampaign(seed, histories)
    console.log(describeFigures(figures))
    expect(figures.violations).toEqual([])
    // A simulation in which nothing happens proves nothing.
    expect(figures.histories).toBe(histories)
    expect(figures.events).toBeGreaterThan(histories * 5)
    expect(figures.repeats).toBeGreaterThan(1000)
    expect(figures.deadLetters).toBeGreaterThan(1000)
    expect(figures.undone).toBeGreaterThan(100)
    expect(figures.halted).toBeGreaterThan(10)
    expect(Object.keys(figures.faults).length).toBe(19)
  })

  it('is repeatable: a seed gives the same history, step by step', async () => {
    for (const one of [7, 44, 60, 117]) expect(await runHistory(one)).toEqual(await runHistory(one))
  })

  it('leaves time and chance as they were', async () => {
    const before = [globalThis.setTimeout, globalThis.setImmediate, Math.random]
    await runHistory(1)
    expect([globalThis.setTimeout, globalThis.setImmediate, Math.random]).toEqual(before)
    const now = performance.now()
    await new Promise((resolve) => setTimeout(resolve, 2))
    expect(performance.now()).toBeGreaterThan(now)
  })
})
