import { expect, test } from 'vitest'
import { leaseTimeOf, PublishLease } from '../../src/sink/publish-lease.ts'

test.each([
  [60_000, 24_000],
  [2000, 800],
  [75_000, 30_000],
  [600_000, 30_000],
  [0, 30_000],
])('with wal_sender_timeout %i ms a lease lasts %i ms', (timeout, lease) => {
  expect(leaseTimeOf(timeout)).toBe(lease)
})

test('nobody holds a lease that was never given', () => {
  expect(new PublishLease().holds(0)).toBe(false)
})

test('a lease is held until its time, and no longer', () => {
  const lease = new PublishLease()
  lease.grant(100, 0, 0)
  expect([lease.holds(99, 99), lease.holds(100, 100)]).toEqual([true, false])
})

test('a proof that comes late does not shorten it', () => {
  const lease = new PublishLease()
  lease.grant(100, 0, 0)
  lease.grant(50, 0, 0)
  expect(lease.holds(99, 99)).toBe(true)
})

test('a lease that was taken away is held again only when it is given anew', () => {
  const lease = new PublishLease()
  lease.grant(100, 0, 0)
  lease.revoke()
  expect(lease.holds(0, 0)).toBe(false)
  lease.grant(20, 0, 0)
  expect([lease.holds(19, 19), lease.holds(20, 20)]).toEqual([true, false])
})

// The monotonic clock of Linux stands still meanwhile.
test('a machine that was suspended for longer than the lease holds it no more', () => {
  const lease = new PublishLease()
  lease.grant(24_000, 0, 1_700_000_000_000)
  expect(lease.holds(10, 1_700_000_024_500)).toBe(true)
  expect(lease.holds(10, 1_700_000_090_000)).toBe(false)
  lease.grant(24_010, 10, 1_700_000_090_000)
  expect(lease.holds(20, 1_700_000_090_010)).toBe(true)
})

test('a wall clock that is set back gives no more time', () => {
  const lease = new PublishLease()
  lease.grant(100, 0, 1_700_000_000_000)
  expect(lease.holds(100, 1_600_000_000_000)).toBe(false)
})
