import { expect, test } from 'vitest'
import { Router, type RouterOptions, routingKeyOf } from '../../src/routing/router.ts'

const fallback: RouterOptions = {
  exchange: 'outbox',
  routingKey: '{aggregate_type}.{type}',
  routes: [],
  unroutable: 'dead-letter',
}

function router(...routes: RouterOptions['routes']): Router {
  return new Router({ ...fallback, routes })
}

test('without routes everything takes the default exchange, key and policy', () => {
  expect(router().decide('order', 'placed')).toMatchObject({
    exchange: 'outbox',
    routingKey: 'order.placed',
    headers: null,
    unroutable: 'dead-letter',
  })
})

test('the first route that matches wins, a later and closer one does not', () => {
  const routes = router(
    { aggregate_type: 'pay*', exchange: 'first' },
    { aggregate_type: 'payment', exchange: 'second' },
  )
  expect(routes.decide('payment', 'made').exchange).toBe('first')
  expect(routes.decide('order', 'made').exchange).toBe('outbox')
})

test.each([
  ['order', 'placed', 'both'],
  ['order', 'paid', 'aggregate'],
  ['cart', 'placed', 'event'],
  ['cart', 'paid', 'outbox'],
])('a route that names both types needs both: %s %s goes to %s', (aggregateType, type, exchange) => {
  const routes = router(
    { aggregate_type: 'order', type: 'placed', exchange: 'both' },
    { aggregate_type: 'order', exchange: 'aggregate' },
    { type: 'placed', exchange: 'event' },
  )
  expect(routes.decide(aggregateType, type).exchange).toBe(exchange)
})

test('what a route leaves out is the default', () => {
  const decided = router({ type: 'placed', unroutable: 'drop' }).decide('order', 'placed')
  expect(decided).toMatchObject({ exchange: 'outbox', routingKey: 'order.placed', unroutable: 'drop' })
})

test('an empty exchange of a route is AMQP’s default exchange, not the bridge’s', () => {
  expect(router({ exchange: '' }).decide('order', 'placed').exchange).toBe('')
})

test('a key of aggregate type and event type is decided once, any other is rendered for each event', () => {
  expect(router({ routingKey: 'x.{type}' }).decide('order', 'placed').routingKey).toBe('x.placed')
  for (const routingKey of ['{type}.{aggregate_id}', '{type}.{id}']) {
    const to = router({ routingKey }).decide('order', 'placed')
    expect(to.routingKey).toBeNull()
    expect(routingKeyOf(to, 'e1', 'order', 'a1', 'placed')).toMatch(/^placed\.[ea]1$/)
  }
})

test('the same pair of types is decided once', () => {
  const routes = router()
  expect(routes.decide('order', 'placed')).toBe(routes.decide('order', 'placed'))
  expect(routes.decide('a', 'bc').routingKey).toBe('a.bc')
  expect(routes.decide('ab', 'c').routingKey).toBe('ab.c')
})

test('what was decided is forgotten past a bound, and decided alike again', () => {
  const routes = router({ type: 't7', exchange: 'seven' })
  const first = routes.decide('order', 't7')
  for (let n = 0; n < 2_500; n++) routes.decide('order', `t${n}`)
  expect(routes.decide('order', 't7')).not.toBe(first)
  expect(routes.decide('order', 't7')).toEqual(first)
})

test('very long names are decided but not remembered', () => {
  const routes = router()
  const long = 'n'.repeat(600)
  expect(routes.decide(long, 'placed')).not.toBe(routes.decide(long, 'placed'))
})

test('static headers keep their kinds', () => {
  const headers = { team: 'sales', version: 2, beta: true, huge: 1e300 }
  expect(router({ headers }).decide('order', 'placed').headers).toEqual({
    ...headers,
    huge: { '!': 'double', value: 1e300 },
  })
})

test.each(['CC', 'x-delay', 'wal-lsn', 'aggregate_id', '__proto__', 'n'.repeat(256)])(
  'a route cannot set the header %.20s',
  (name) => {
    const headers = Object.fromEntries([[name, 'v']])
    expect(() => router({}, { headers })).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringContaining('routes[1].headers') }),
    )
  },
)

test('a number that is none cannot be a static header', () => {
  expect(() => router({ headers: { n: Number.NaN } })).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
})

test('an exchange over 255 bytes and a wrong template are refused at the start', () => {
  expect(() => router({ exchange: 'é'.repeat(128) })).toThrow(/routes\[0\]\.exchange is 256 bytes/)
  expect(() => router({ routingKey: '{kind}' })).toThrow(/unknown name \{kind\}/)
})
