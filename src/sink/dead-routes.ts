import type { OutboundMessage } from './sink.ts'

/** How long a route counts as dead after the last event that came back from it, milliseconds. */
const routeMemory = 60_000
/** How long nothing is sent to an exchange that cost a channel, milliseconds. */
const exchangeMemory = 15_000
/** So many dead routes of an exchange make it a flood: then the other routes are not retried either. */
const floodRoutes_min = 8
const routes_max = 10_000

/**
 * What is known of routes that lead nowhere, so that a flood to them does not cost a series of retries for each event.
 * Every event is still sent, and is its own probe: it is only not retried when it comes back. One confirm makes the
 * route good again. An exchange that the broker closed the channel for is spared for a while, as each probe costs a
 * channel. No clock: times are the caller's, in milliseconds. Bounded.
 */
export class DeadRoutes {
  /** By exchange, then routing key: when the last event came back. */
  readonly #routes = new Map<string, Map<string, number>>()
  readonly #exchanges = new Map<string, number>()
  #size = 0

  get isEmpty(): boolean {
    return this.#size === 0
  }

  /** All retries of an event to this route were returned, or one while it is dead. */
  died({ exchange, routingKey }: OutboundMessage, now: number): void {
    if (this.#size >= routes_max) this.#forget()
    const routes = this.#routes.get(exchange) ?? new Map<string, number>()
    this.#routes.set(exchange, routes)
    if (!routes.has(routingKey)) this.#size++
    routes.set(routingKey, now)
  }

  /** The broker took an event on this route. */
  lives({ exchange, routingKey }: OutboundMessage): void {
    const routes = this.#routes.get(exchange)
    if (routes?.delete(routingKey) !== true) return
    this.#size--
    if (routes.size === 0) this.#routes.delete(exchange)
  }

  /** Whether an event that was returned from there need not be tried again. */
  isDead({ exchange, routingKey }: OutboundMessage, now: number): boolean {
    const routes = this.#routes.get(exchange)
    if (routes === undefined) return false
    const diedAt = routes.get(routingKey)
    if (diedAt !== undefined) return now - diedAt < routeMemory
    return routes.size >= floodRoutes_min && now - lastOf(routes) < routeMemory
  }

  /** The broker closed the channel because of this exchange. */
  refused(exchange: string, now: number): void {
    if (this.#exchanges.size >= routes_max) this.#exchanges.clear()
    this.#exchanges.set(exchange, now)
  }

  /** Whether nothing is to be sent to the exchange for now. */
  isRefused(exchange: string, now: number): boolean {
    if (this.#exchanges.size === 0) return false
    const refusedAt = this.#exchanges.get(exchange)
    if (refusedAt === undefined) return false
    if (now - refusedAt < exchangeMemory) return true
    this.#exchanges.delete(exchange)
    return false
  }

  #forget(): void {
    this.#routes.clear()
    this.#size = 0
  }
}

function lastOf(routes: ReadonlyMap<string, number>): number {
  let last = Number.NEGATIVE_INFINITY
  for (const diedAt of routes.values()) if (diedAt > last) last = diedAt
  return last
}
