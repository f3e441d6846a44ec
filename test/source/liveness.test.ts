import { expect, test } from 'vitest'
import { decideLiveness, type LivenessFacts, overslept } from '../../src/source/liveness.ts'

/** Times in milliseconds; silence since 0 with a timeout of 1000, unless stated. */
const at = (now: number, facts: Partial<LivenessFacts> = {}): LivenessFacts => ({
  now,
  timeout: 1000,
  quietSince: 0,
  paused: false,
  probedAt: undefined,
  walsender: undefined,
  ...facts,
})

test.each([
  ['some silence is normal', at(499), 'ok'],
  ['half of the timeout is probed', at(500), 'probe'],
  ['a probe gets time to be answered', at(999, { probedAt: 500 }), 'ok'],
  ['a probe from before the last bytes does not count', at(1500, { quietSince: 900, probedAt: 800 }), 'probe'],
  ['an unanswered probe has the walsender looked for', at(1000, { probedAt: 500 }), 'check-walsender'],
  [
    'while PostgreSQL is being asked we wait',
    at(1900, { probedAt: 1000, walsender: { state: 'asking', at: 1000 } }),
    'ok',
  ],
  ['but not for ever', at(2000, { probedAt: 1500, walsender: { state: 'asking', at: 1000 } }), 'dead'],
  ['a walsender that is gone', at(1050, { probedAt: 500, walsender: { state: 'gone', at: 1040 } }), 'dead'],
  [
    'a walsender at work, decoding silently',
    at(1400, { probedAt: 500, walsender: { state: 'alive', at: 1010 } }),
    'ok',
  ],
  [
    'it is looked for again later',
    at(9600, { probedAt: 9000, walsender: { state: 'alive', at: 9100 } }),
    'check-walsender',
  ],
  [
    'and may be silent for very long',
    at(9_000_000, { probedAt: 8_999_500, walsender: { state: 'alive', at: 8_999_900 } }),
    'ok',
  ],
  ['a long silence is probed again', at(1500, { probedAt: 500, walsender: { state: 'alive', at: 1400 } }), 'probe'],
  [
    'when nobody can tell, it is asked again',
    at(1300, { probedAt: 500, walsender: { state: 'unknown', at: 1010 } }),
    'check-walsender',
  ],
  [
    'when nobody can tell, twice the timeout is the end',
    at(2000, { probedAt: 1500, walsender: { state: 'unknown', at: 1900 } }),
    'dead',
  ],
  [
    'an answer from before the last bytes does not count',
    at(3000, { quietSince: 1900, probedAt: 2500, walsender: { state: 'gone', at: 1800 } }),
    'check-walsender',
  ],
  ['while we do not read, nothing can be heard', at(60_000, { paused: true }), 'ok'],
  ['wal_sender_timeout = 0 turns the watchdog off', at(60_000, { timeout: 0 }), 'ok'],
])('%s', (_name, facts, decision) => {
  expect(decideLiveness(facts)).toBe(decision)
})

test('a timer that comes late says that we slept, a little jitter does not', () => {
  expect(overslept(0, 1000, 1000)).toBe(false)
  expect(overslept(0, 2500, 1000)).toBe(false)
  expect(overslept(0, 5000, 1000)).toBe(true)
  expect(overslept(0, 90_000, 50)).toBe(true)
})
