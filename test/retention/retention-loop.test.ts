import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { BridgeError } from '../../src/base/errors.ts'
import { createLogger } from '../../src/base/log.ts'
import type { PassReport } from '../../src/retention/retention.ts'
import { RetentionLoop } from '../../src/retention/retention-loop.ts'

const done: PassReport = { outcome: 'done', reason: null, rows: 0, partitions: [], floor: null, notices: [] }
const hour = 3_600_000

let lines: { level: string; msg: string }[]
let loop: RetentionLoop
let passes = 0

beforeEach(() => {
  vi.useFakeTimers()
  lines = []
  passes = 0
})

afterEach(async () => {
  await loop.stop()
  vi.useRealTimers()
})

function start(pass: (n: number, signal: AbortSignal) => PassReport | Promise<PassReport>, isOwner = () => true): void {
  const destination = { write: (line: string) => lines.push(JSON.parse(line)) }
  loop = new RetentionLoop({
    age: 24 * hour,
    isOwner,
    runPass: async (signal) => pass(++passes, signal),
    log: createLogger({ level: 'info', format: 'json', scrub: (text) => text, destination }),
  })
  loop.start()
}

const warnings = () => lines.filter(({ level }) => level === 'warn').map(({ msg }) => msg)

test('adds up what goes, pass after pass', async () => {
  start((n) => ({ ...done, rows: n, partitions: ['a'], floor: BigInt(n) }))
  expect(loop.sight.lastPassAt).toBeNull()
  await vi.advanceTimersByTimeAsync(2.5 * hour)
  expect(loop.sight).toMatchObject({ rowsDeleted: 1 + 2 + 3, partitionsDropped: 3, floorLsn: '0/3', failing: null })
  expect(lines).toHaveLength(3)
})

test('a stand-by deletes nothing until it holds the slot', async () => {
  let owner = false
  start(
    () => done,
    () => owner,
  )
  await vi.advanceTimersByTimeAsync(hour)
  expect(passes).toBe(0)
  owner = true
  await vi.advanceTimersByTimeAsync(5000)
  expect(passes).toBe(1)
})

test('what fails is tried again ever more rarely, said once, and over with the next good pass', async () => {
  start((n) => {
    if (n < 8) throw new BridgeError('SOURCE_CONNECTION_LOST', 'gone')
    return done
  })
  await vi.advanceTimersByTimeAsync(60_000)
  expect(passes).toBeGreaterThan(3)
  expect(passes).toBeLessThan(8)
  expect(loop.sight.failing).toBe('gone')
  await vi.advanceTimersByTimeAsync(hour)
  expect(loop.sight.failing).toBeNull()
  expect(warnings()).toHaveLength(1)
})

test('what is impossible is said once, and again when it is something else', async () => {
  const reasons = ['no column', 'no column', 'no grant']
  start((n) => ({ ...done, outcome: 'impossible', reason: reasons[Math.min(n, 3) - 1]! }))
  await vi.advanceTimersByTimeAsync(hour)
  expect(warnings()).toEqual(['outbox retention impossible: no column', 'outbox retention impossible: no grant'])
  expect(loop.sight).toMatchObject({ failing: 'no grant', waiting: null })
})

test('a notice is said once, and waiting is no failure', async () => {
  start(() => ({ ...done, outcome: 'waiting', reason: 'slot b lags', notices: ['not the owner'] }))
  await vi.advanceTimersByTimeAsync(hour)
  expect(passes).toBeGreaterThan(30)
  expect(warnings()).toEqual(['not the owner'])
  expect(loop.sight).toMatchObject({ failing: null, waiting: 'slot b lags' })
})

test('that it waits is said when it begins to, and again only after it did not', async () => {
  start((n) => (n === 5 ? done : { ...done, outcome: 'waiting', reason: `slot b needs all from 0/${n} on` }))
  await vi.advanceTimersByTimeAsync(3 * hour)
  expect(passes).toBeGreaterThan(10)
  expect(lines.map(({ level, msg }) => [level, msg])).toEqual([
    ['info', 'outbox retention waits: slot b needs all from 0/1 on'],
    ['info', 'outbox retention waits: slot b needs all from 0/6 on'],
  ])
})

test('a stop ends the pass under way, without a word, and no other begins', async () => {
  start(
    (_, signal) => new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new Error('cut')))),
  )
  await vi.advanceTimersByTimeAsync(6000)
  expect(passes).toBe(1)
  await loop.stop()
  await vi.advanceTimersByTimeAsync(hour)
  expect(passes).toBe(1)
  expect(lines).toEqual([])
})
