import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { BridgeError } from '../src/base/errors.ts'
import { Ownership } from '../src/ownership.ts'
import { PublishLease } from '../src/sink/publish-lease.ts'
import { gate, scriptedBridge } from './scripted-parts.ts'

const leaseTime = 8000

beforeEach(() => {
  vi.useFakeTimers()
})

afterEach(() => {
  vi.useRealTimers()
})

/** The owner of a lease of 8 s, ticked every 100 ms. */
function stage() {
  const { checkpoint, calls } = scriptedBridge()
  const lease = new PublishLease()
  const lost: BridgeError[] = []
  let granted = 0
  const onGranted = () => {
    granted++
  }
  const ownership = new Ownership({ lease, checkpoint, onGranted, onLost: (error) => lost.push(error) })
  const timer = setInterval(() => ownership.tick(performance.now()), 100)
  const pass = (milliseconds: number) => vi.advanceTimersByTimeAsync(milliseconds)
  const asked = () => calls.filter((call) => call === 'owner?').length
  const held = () => lease.holds(performance.now())
  return { ownership, checkpoint, lost, pass, asked, held, granted: () => granted, end: () => clearInterval(timer) }
}

test('a lease is given for its time from the moment at which the claim was asked for', async () => {
  const { ownership, checkpoint, pass, held, granted } = stage()
  checkpoint.confirmingOwner = () => new Promise(() => {})
  const claimedAt = performance.now()
  await pass(3000)
  ownership.begin(leaseTime, claimedAt)
  expect([held(), granted()]).toEqual([true, 1])
  await pass(4999)
  expect(held()).toBe(true)
  await pass(1)
  expect(held()).toBe(false)
})

test('nobody is asked while stores prove it, and the lease goes on', async () => {
  const { ownership, pass, held, asked, granted } = stage()
  ownership.begin(leaseTime, performance.now())
  for (let n = 0; n < 20; n++) {
    await pass(1900)
    ownership.prove(performance.now())
  }
  expect([held(), asked(), granted()]).toEqual([true, 0, 1])
})

test('when nothing was stored for a quarter of its time the checkpoint is asked, and the lease goes on', async () => {
  const { ownership, pass, held, asked, granted } = stage()
  ownership.begin(leaseTime, performance.now())
  await pass(1999)
  expect(asked()).toBe(0)
  await pass(1)
  expect(asked()).toBe(1)
  await pass(60_000)
  expect([held(), granted()]).toEqual([true, 1])
  expect(asked()).toBeGreaterThan(25)
  expect(asked()).toBeLessThan(35)
})

test('a lease runs out when there is no answer, and only one question is open', async () => {
  const { ownership, checkpoint, pass, held, asked, lost } = stage()
  checkpoint.confirmingOwner = () => new Promise(() => {})
  ownership.begin(leaseTime, performance.now())
  await pass(7999)
  expect(held()).toBe(true)
  await pass(1)
  expect(held()).toBe(false)
  await pass(60_000)
  expect([held(), asked(), lost]).toEqual([false, 1, []])
})

test('an answer counts from the question, not from its arrival, and a lease that ran out is told to be back', async () => {
  const { ownership, checkpoint, pass, held, granted } = stage()
  const answer = gate()
  checkpoint.confirmingOwner = () => answer.promise
  ownership.begin(leaseTime, performance.now())
  // Asked at 2000 and good until 10000.
  await pass(9000)
  checkpoint.confirmingOwner = () => new Promise(() => {})
  expect([held(), granted()]).toEqual([false, 1])
  answer.open()
  await pass(0)
  expect([held(), granted()]).toEqual([true, 2])
  await pass(999)
  expect(held()).toBe(true)
  await pass(1)
  expect(held()).toBe(false)
})

test('who stood still for long does not hold the lease when it wakes', async () => {
  const { ownership, pass, held, end } = stage()
  ownership.begin(leaseTime, performance.now())
  end()
  // No timer fires meanwhile, as for a process that is stopped.
  await pass(90_000)
  expect(held()).toBe(false)
})

test.each([
  ['CHECKPOINT_FENCED', new BridgeError('CHECKPOINT_FENCED', 'scripted')],
  ['UNKNOWN', new Error('surprise')],
])('an owner that is not confirmed hears of it once for each question (%s)', async (code, error) => {
  const { ownership, checkpoint, pass, lost } = stage()
  checkpoint.confirmingOwner = async () => {
    throw error
  }
  ownership.begin(leaseTime, performance.now())
  await pass(2000)
  expect(lost.map((one) => one.code)).toEqual([code])
})

test('after its end nothing gives the lease back: neither a store nor an answer that comes late', async () => {
  const { ownership, checkpoint, pass, held, granted, end } = stage()
  const answer = gate()
  checkpoint.confirmingOwner = () => answer.promise
  ownership.begin(leaseTime, performance.now())
  await pass(2000)
  ownership.end()
  end()
  expect(held()).toBe(false)
  ownership.prove(performance.now())
  answer.open()
  await pass(0)
  expect([held(), granted()]).toEqual([false, 1])
})
