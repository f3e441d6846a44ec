import type { SeededRandom } from '../support/seeded-random.ts'
import type { FakeBroker } from './fake-broker.ts'
import type { FakePostgres } from './fake-postgres.ts'
import type { Truth } from './truth.ts'
import type { VirtualTime } from './virtual-time.ts'

/** What the servers and settings of one history are like. Chances are per message or transaction. */
export interface Profile {
  readonly order: 'commit' | 'aggregate'
  readonly scope: 'event' | 'aggregate'
  /** Nothing but reconnects: no nack, no return, nothing that becomes a dead letter. */
  readonly calm: boolean
  readonly windowMessages: number
  readonly aggregates: number
  readonly nackChance: number
  /** Of an event that is not plain: unroutable, dropped, blocking, poison, invalid. */
  readonly oddChance: number
  /** Whether empty transactions are sent (PostgreSQL 14) or left out (15). */
  readonly sendsEmpty: boolean
  /** Of a link that is slow for a moment. */
  readonly slowChance: number
  readonly bridges: 1 | 2
  /** Somebody moves, drops or makes anew the slot. */
  readonly meddles: boolean
}

/** What the parts of one history share. */
export interface World {
  readonly time: VirtualTime
  readonly random: SeededRandom
  readonly profile: Profile
  readonly truth: Truth
  readonly postgres: FakePostgres
  readonly broker: FakeBroker
}

/** wal_sender_timeout of the fake PostgreSQL, milliseconds. */
export const walSenderTimeout = 4000

/** A short delay of the network in milliseconds, now and then a longer one. */
export function networkDelay({ random, profile }: World): number {
  return random.chance(profile.slowChance) ? random.between(50, 900) : random.between(0, 4)
}
