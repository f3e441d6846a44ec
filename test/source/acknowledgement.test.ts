import { expect, test } from 'vitest'
import { Acknowledgement, librarySendsNext, statusWithoutPosition } from '../../src/source/acknowledgement.ts'
import { thrownBy } from './recorder.ts'

/** What LogicalReplicationService.acknowledge() of pg-logical-replication 2.5 puts on the wire. */
function sentByLibrary(lsn: string): bigint {
  const [high, low] = lsn.split('/').map((half) => Number.parseInt(half, 16)) as [number, number]
  return low === 0xffffffff ? BigInt(high + 1) << 32n : (BigInt(high) << 32n) | BigInt(low + 1)
}

test.each([
  1n,
  0x194a690n,
  0xffffffffn,
  0x1_00000000n, // the low word is 0: the one before it has another high word
  0x16_b374d848n,
  0x16_00000000n,
  0xffffffff_ffffffffn,
])('%s reaches the server as it is, although the library adds one', (stored) => {
  expect(sentByLibrary(librarySendsNext(stored))).toBe(stored)
})

test('0/0 is never sent: one less would come out as garbage', () => {
  expect(thrownBy(() => librarySendsNext(0n))).toMatchObject({ code: 'ASSERTION_FAILED' })
})

test('the acknowledged LSN only moves forward', () => {
  const acknowledgement = new Acknowledgement()
  expect(acknowledgement.stored).toBe(0n)
  expect(acknowledgement.advance(0x100n, 0x300n)).toBe(true)
  expect(acknowledgement.advance(0x90n, 0x300n)).toBe(false)
  expect(acknowledgement.advance(0x100n, 0x300n)).toBe(false)
  expect(acknowledgement.advance(0x200n, 0x300n)).toBe(true)
  expect(acknowledgement.advance(0x150n, 0x300n)).toBe(false)
  expect(acknowledgement.stored).toBe(0x200n)
})

test('an LSN above what was received is refused: the slot would believe it', () => {
  const acknowledgement = new Acknowledgement()
  acknowledgement.advance(0x100n, 0x300n)
  expect(thrownBy(() => acknowledgement.advance(0x301n, 0x300n))).toMatchObject({
    code: 'ASSERTION_FAILED',
    message: expect.stringContaining('0/301'),
  })
  expect(acknowledgement.stored).toBe(0x100n)
})

test('a status update without a position says the time since 2000, and whether a reply is asked for', () => {
  const status = statusWithoutPosition(true, Date.UTC(2000, 0, 1, 0, 0, 1))
  expect(status.toString('hex')).toBe(`72${'00'.repeat(24)}00000000000f424001`)
  expect(statusWithoutPosition(false, Date.now()).at(-1)).toBe(0)
})
