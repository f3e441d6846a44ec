import { BridgeError } from '../../src/base/errors.ts'
import type { Undeliverable, UndeliverableKeeper, Verdict } from '../../src/sink/undeliverable.ts'
import { SqlConnection } from './sql-connection.ts'
import { describe } from './truth.ts'
import type { Owner } from './virtual-time.ts'
import type { World } from './world.ts'

/** Dead letters in the fake PostgreSQL, over a connection of their own; a call may be carried out and not answered. */
export class SimulatedKeeper implements UndeliverableKeeper {
  readonly #world: World
  readonly #owner: Owner
  #connection: SqlConnection | undefined
  #parked = new Set<string>()
  #stale = false

  constructor(world: World, owner: Owner) {
    this.#world = world
    this.#owner = owner
  }

  get connection(): SqlConnection | undefined {
    return this.#connection
  }

  isParked(_aggregateType: string | null, aggregateId: string | null): boolean {
    return aggregateId !== null && this.#parked.has(aggregateId)
  }

  /** After a claim, before anything is published: another bridge may have parked aggregates. */
  begin(): Promise<void> {
    return this.#guarded(() => this.#load())
  }

  keep(items: readonly Undeliverable[]): Promise<readonly Verdict[]> {
    const { postgres, truth, profile } = this.#world
    return this.#guarded(async (connection) => {
      if (this.#stale) await this.#load()
      const known = items.map(({ row, refusal }) => {
        const event = truth.events.get(row.eventId ?? '')
        if (event === undefined) throw new Error(`an event that never was is to be kept: ${row.eventId}`)
        // A good one may be nacked too often, or wait behind another; it is never the culprit.
        const isInnocent = event.kind === 'good' || event.kind === 'blocking'
        if (isInnocent && refusal.code !== 'EVENT_NACKED' && refusal.code !== 'EVENT_PARKED')
          truth.breach('culprit', `${describe(event)} is to be kept as ${refusal.code}: ${refusal.text}`)
        return { event, waits: refusal.code === 'EVENT_PARKED' }
      })
      const verdicts = await connection.execute(() => {
        if (postgres.keepFails) throw new BridgeError('DEAD_LETTER_STORE_FAILED', 'simulated: cannot keep')
        return postgres.keep(known)
      })
      known.forEach(({ event, waits }, index) => {
        if (profile.scope === 'aggregate' && verdicts[index] === 'kept') this.#parked.add(event.aggregateId)
        else if (waits && verdicts[index] === 'released') this.#parked.delete(event.aggregateId)
      })
      return verdicts
    })
  }

  async #load(): Promise<void> {
    const { postgres } = this.#world
    const parked = await this.#connection!.execute(() => [...postgres.parked])
    this.#parked = new Set(parked)
  }

  async #guarded<T>(work: (connection: SqlConnection) => Promise<T>): Promise<T> {
    try {
      this.#connection ??= await new SqlConnection(this.#world, this.#owner).connect()
      const result = await work(this.#connection)
      this.#stale = false
      return result
    } catch (error) {
      this.#stale = true
      await this.#connection?.close()
      this.#connection = undefined
      throw error
    }
  }
}
