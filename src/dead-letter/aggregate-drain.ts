import { inTransaction } from '../base/in-transaction.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import { holdParked, releaseParked } from './parked-aggregates.ts'
import { type Candidate, firstBatch, heads_max, headsOfAggregates, sendableHeads } from './plan-retry.ts'
import type { Selection } from './selection.ts'
import type { BatchResult } from './send-batch.ts'

export interface DrainOptions {
  readonly client: PostgresClient
  readonly slot: string
  /** Parked aggregates. */
  readonly keys: readonly string[]
  /** What may go beside events that only wait; undefined: nothing. */
  readonly selection: Selection | undefined
  readonly stopAsked: () => boolean
  /** Plans and sends a batch in one transaction; `last` comes at its end. */
  readonly deliver: (plan: () => Promise<Candidate[]>, last: () => Promise<void>) => Promise<BatchResult>
}

/** Aggregates whose oldest dead letters are looked at together. */
const group_size = 500
/** Releases of an aggregate that failed, as the bridge parked another event meanwhile, before the bridge is held off. */
const releaseTries_max = 3
/** Looks at an aggregate that somebody else is retrying before it is left to them. */
const busyTries_max = 3

interface Tries {
  release: number
  busy: number
}

/**
 * Sends what may be sent of each parked aggregate, from its oldest event on, until the aggregate is released or
 * something stands in the way: a failure, a dead letter that is not selected, or somebody else who retries it.
 */
export async function drainAggregates(options: DrainOptions): Promise<void> {
  const { keys, stopAsked } = options
  for (let from = 0; from < keys.length; from += group_size) {
    const open = new Map(keys.slice(from, from + group_size).map((key): [string, Tries] => [key, newTries()]))
    while (open.size > 0 && !stopAsked()) await drainOnce(options, open)
  }
}

async function drainOnce(options: DrainOptions, open: Map<string, Tries>): Promise<void> {
  const { client, slot, selection, deliver } = options
  const stubborn = [...open].filter(([, { release }]) => release >= releaseTries_max).map(([key]) => key)
  const keys = stubborn.length > 0 ? stubborn : [...open.keys()]
  let heads: readonly Candidate[] = []
  let released: readonly string[] = []
  const { settled } = await deliver(
    async () => {
      // Before any row of a dead letter, as the bridge does: so neither waits for the other.
      if (stubborn.length > 0) await holdParked(client, slot, keys)
      heads = await headsOfAggregates(client, slot, keys, selection)
      return firstBatch(sendableHeads(heads))
    },
    async () => {
      if (stubborn.length > 0) released = await releaseParked(client, slot, keys)
    },
  )
  if (stubborn.length === 0) released = await inTransaction(client, () => releaseParked(client, slot, keys))
  const done = new Set(settled.filter(({ outcome }) => outcome.kind === 'delivered').map(({ letter }) => letter.id))
  const failed = new Set(
    settled.filter(({ outcome }) => outcome.kind !== 'delivered').map(({ letter }) => letter.aggregateKey),
  )
  const sendable = new Set(sendableHeads(heads).map(({ id }) => id))
  const batched = new Set(firstBatch(sendableHeads(heads)).map(({ id }) => id))
  for (const key of keys) {
    const tries = open.get(key) ?? newTries()
    const own = heads.filter(({ aggregateKey }) => aggregateKey === key)
    const first = own[0]
    if (released.includes(key) || failed.has(key) || (first !== undefined && !sendable.has(first.id))) open.delete(key)
    // All that there was went, and yet it is not released: the bridge has parked another event.
    else if (own.length < heads_max(keys) && own.every(({ id }) => done.has(id))) tries.release++
    else if (own.some(({ id }) => batched.has(id)) && !own.some(({ id }) => done.has(id))) {
      if (++tries.busy === busyTries_max) open.delete(key)
    } else tries.release = 0
  }
}

function newTries(): Tries {
  return { release: 0, busy: 0 }
}
