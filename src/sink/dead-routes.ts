import type { OutboundMessage } from './sink.ts'

/** How long a route counts as dead after the last event that came back from it, milliseconds. */
const routeMemory = 60_000
/** How long nothing is sent to an exchange that cost a channel, milliseconds. */
const exchangeMemory = 15_000
/** So many dead routes of an exchange make it a flood: then others, that took nothing meanwhile, are not retried either. */
const floodRoutes_min = 8
const routes_max = 10_000
/** So many events that came back from one route within a second make it a flood: then only probes are sent there. */
const floodReturns_min = 100
const floodPeriod = 1000 // milliseconds
const probeInterval = 50 // milliseconds

interface DeadRoute {
  /** When the last event came back. */
  diedAt: number
  /** How many did since `countedFrom`. */
  returns: number
  countedFrom: number
  probedAt: number
}

/**
 * What is known of routes that lead nowhere, so that they cost little. An event to a dead route is still sent, and so is
 * its own probe, but it is not tried again when it comes back; in a flood only some are sent. One confirm makes the route
 * good again. An exchange that the broker closed the channel for is spared for a while, as each probe costs a channel.
 * No clock: times are the caller's, in milliseconds. Bounded.
 */
export class DeadRoutes {
  /** By exchange, then routing key; the one that died last comes last, as a Map keeps the order of its keys. */
  readonly #routes = new Map<string, Map<string, DeadRoute>>()
  readonly #exchanges = new Map<string, number>()
  /** Routes that took an event while others were dead. */
  #good = new Set<string>()
  #size = 0

  get isEmpty(): boolean {
    return this.#size === 0
  }

  /** Routes that are remembered. */
  get size(): number {
    return this.#size
  }

  /** All retries of an event to this route were returned, or one while it is dead. */
  died({ exchange, routingKey }: OutboundMessage, now: number): void {
    if (this.#size >= routes_max) this.#forget()
    const routes = this.#routes.get(exchange) ?? new Map<string, DeadRoute>()
    this.#routes.set(exchange, routes)
    const route = routes.get(routingKey)
    if (route === undefined) {
      this.#size++
      routes.set(routingKey, { diedAt: now, returns: 1, countedFrom: now, probedAt: now })
      return
    }
    route.diedAt = now
    routes.delete(routingKey)
    routes.set(routingKey, route)
    if (now - route.countedFrom >= floodPeriod) {
      route.countedFrom = now
      route.returns = 0
    }
    route.returns++
  }

  /** The broker took an event on this route. */
  lives({ exchange, routingKey }: OutboundMessage): void {
    const routes = this.#routes.get(exchange)
    if (routes === undefined) return
    if (this.#good.size >= routes_max) this.#good = new Set()
    this.#good.add(`${exchange}\0${routingKey}`)
    if (!routes.delete(routingKey)) return
    this.#size--
    if (routes.size === 0) this.#routes.delete(exchange)
  }

  /** Whether an event that was returned from there need not be tried again. */
  isDead({ exchange, routingKey }: OutboundMessage, now: number): boolean {
    const routes = this.#routes.get(exchange)
    if (routes === undefined) return false
    for (const [key, { diedAt }] of routes) {
      if (now - diedAt < routeMemory) break
      routes.delete(key)
      this.#size--
    }
    if (routes.has(routingKey)) return true
    return routes.size >= floodRoutes_min && !this.#good.has(`${exchange}\0${routingKey}`)
  }

  /** Whether an event would only add to a flood, and need not be sent. Each `false` may be a probe that is due. */
  isFlooded({ exchange, routingKey }: OutboundMessage, now: number): boolean {
    const route = this.#routes.get(exchange)?.get(routingKey)
    if (route === undefined || route.returns < floodReturns_min || now - route.countedFrom >= floodPeriod) return false
    if (now - route.probedAt < probeInterval) return true
    route.probedAt = now
    return false
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
    this.#good.clear()
    this.#size = 0
  }
}
