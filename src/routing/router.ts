import { BridgeError } from '../base/errors.ts'
import type { UnroutablePolicy } from '../sink/sink.ts'
import { compileGlob } from './glob.ts'
import { headerTableSize } from './header-size.ts'
import { carryNumber, type HeaderTable } from './headers.ts'
import { isBridgeHeader, isBrokerHeader } from './reserved-headers.ts'
import { tooLongAsShortString } from './short-string.ts'
import { compileTemplate, type Template } from './template.ts'

/** Sends the events that it matches elsewhere; what it leaves out is as without a route. */
export interface Route {
  /** Glob over the aggregate type; absent matches all. */
  readonly aggregate_type?: string | undefined
  /** Glob over the event type; absent matches all. */
  readonly type?: string | undefined
  readonly exchange?: string | undefined
  /** Template of the routing key. */
  readonly routingKey?: string | undefined
  /** Added to each message; a row's own header of the same name wins. */
  readonly headers?: Readonly<Record<string, string | number | boolean>> | undefined
  readonly unroutable?: UnroutablePolicy | undefined
}

export interface RouterOptions {
  readonly exchange: string
  readonly routingKey: string
  readonly routes: readonly Route[]
  readonly unroutable: UnroutablePolicy
}

/** Where events of one aggregate type and event type go. */
export interface Destination {
  readonly exchange: string
  readonly template: Template
  /** The routing key, where aggregate type and event type alone decide it; else null: render the template. */
  readonly routingKey: string | null
  readonly headers: HeaderTable | null
  /** What `headers` adds to an encoded table, in bytes. */
  readonly headersSize: number
  readonly unroutable: UnroutablePolicy
}

interface CompiledRoute {
  readonly matches: (aggregateType: string, type: string) => boolean
  readonly destination: Destination
}

const cachedDestinations_max = 1000
const cachedKeyLength_max = 512

/** Finds the destination: routes in order, the first match wins, else the default. Pure; remembers what it decided. */
export class Router {
  readonly #routes: readonly CompiledRoute[]
  readonly #cache = new Map<string, Destination>()

  /** Throws a BridgeError `CONFIG_INVALID` for a template, exchange or header that cannot be sent. */
  constructor(options: RouterOptions) {
    const { routes, ...fallback } = options
    this.#routes = [...routes, {}].map((route, index) => {
      const where = index < routes.length ? `routes[${index}]` : 'sink'
      return compileRoute(route, fallback, where)
    })
  }

  decide(aggregateType: string, type: string): Destination {
    const key = `${aggregateType}\0${type}` // NUL cannot occur in a PostgreSQL text
    const cached = this.#cache.get(key)
    if (cached !== undefined) return cached
    const { destination } = this.#routes.find((route) => route.matches(aggregateType, type))!
    const { names } = destination.template
    const routingKey =
      names.has('aggregate_id') || names.has('id')
        ? null
        : destination.template.render({ aggregate_type: aggregateType, type, aggregate_id: '', id: '' })
    const decided = { ...destination, routingKey }
    if (key.length <= cachedKeyLength_max) {
      if (this.#cache.size >= cachedDestinations_max) this.#cache.clear()
      this.#cache.set(key, decided)
    }
    return decided
  }
}

/** The routing key of one event at its destination. */
export function routingKeyOf(to: Destination, id: string, aggregateType: string, aggregateId: string, type: string) {
  return to.routingKey ?? to.template.render({ id, aggregate_type: aggregateType, aggregate_id: aggregateId, type })
}

function compileRoute(route: Route, fallback: Omit<RouterOptions, 'routes'>, where: string): CompiledRoute {
  const aggregateType = compileGlob(route.aggregate_type ?? '*')
  const type = compileGlob(route.type ?? '*')
  const exchange = route.exchange ?? fallback.exchange
  if (tooLongAsShortString(exchange)) {
    throw configInvalid(`${where}.exchange is ${Buffer.byteLength(exchange)} bytes long; AMQP carries at most 255`)
  }
  const headers = compileHeaders(route.headers ?? {}, where)
  return {
    matches: (ofAggregate, ofEvent) => aggregateType(ofAggregate) && type(ofEvent),
    destination: {
      exchange,
      template: compileTemplate(route.routingKey ?? fallback.routingKey),
      routingKey: null,
      headers,
      headersSize: headers === null ? 0 : headerTableSize(headers),
      unroutable: route.unroutable ?? fallback.unroutable,
    },
  }
}

function compileHeaders(headers: NonNullable<Route['headers']>, where: string): HeaderTable | null {
  const names = Object.keys(headers)
  for (const name of names) {
    const bridge = isBridgeHeader(name) || name === 'aggregate_type' || name === 'aggregate_id'
    if (bridge || isBrokerHeader(name) || name === '__proto__' || tooLongAsShortString(name)) {
      throw configInvalid(
        `${where}.headers: the name ${JSON.stringify(name)} cannot be set; expected up to 255 bytes, none of the bridge's and the broker's own names`,
      )
    }
  }
  if (names.length === 0) return null
  return Object.fromEntries(
    names.map((name) => {
      const value = headers[name]!
      if (typeof value !== 'number') return [name, value]
      if (!Number.isFinite(value)) throw configInvalid(`${where}.headers.${name} is ${value}; expected a finite number`)
      return [name, carryNumber(value, name)]
    }),
  )
}

function configInvalid(message: string): BridgeError {
  return new BridgeError('CONFIG_INVALID', message)
}
