import { expect, test } from 'vitest'
import { DeadRoutes } from '../../src/sink/dead-routes.ts'
import type { OutboundMessage } from '../../src/sink/sink.ts'
import { windowRow } from './window-rows.ts'

function to(routingKey: string, exchange = 'outbox'): OutboundMessage {
  const { message } = windowRow({ commitLsn: 1n, ordinal: 0, message: { exchange, routingKey } })
  if (message === undefined) throw new Error('a row without a message')
  return message
}

/** So many routes of `outbox`, dead since `now`. */
function flood(routes: DeadRoutes, count: number, now: number): void {
  for (let n = 0; n < count; n++) routes.died(to(`dead.${n}`), now)
}

test('a route is dead for 60 s after the last event that came back from it', () => {
  const routes = new DeadRoutes()
  expect(routes.isDead(to('a'), 0)).toBe(false)
  routes.died(to('a'), 0)
  expect([routes.isDead(to('a'), 59_999), routes.isDead(to('a'), 60_000)]).toEqual([true, false])
})

test('each event that comes back keeps its route dead for longer, and no other route', () => {
  const routes = new DeadRoutes()
  routes.died(to('a'), 0)
  routes.died(to('b'), 10)
  routes.died(to('a'), 50_000)
  expect([routes.isDead(to('a'), 60_009), routes.isDead(to('b'), 60_009)]).toEqual([true, true])
  expect([routes.isDead(to('b'), 60_010), routes.isDead(to('a'), 109_999)]).toEqual([false, true])
  expect(routes.isDead(to('a'), 110_000)).toBe(false)
})

test('only that route is dead: not another key, nor the same key of another exchange', () => {
  const routes = new DeadRoutes()
  routes.died(to('a'), 0)
  expect([routes.isDead(to('b'), 0), routes.isDead(to('a', 'other'), 0)]).toEqual([false, false])
})

test('one event that the broker takes makes the route good again', () => {
  const routes = new DeadRoutes()
  routes.died(to('a'), 0)
  routes.died(to('b'), 0)
  routes.lives(to('a'))
  routes.lives(to('never seen'))
  expect([routes.isDead(to('a'), 1), routes.isDead(to('b'), 1), routes.isEmpty]).toEqual([false, true, false])
  routes.lives(to('b'))
  expect(routes.isEmpty).toBe(true)
})

test('eight dead routes of an exchange are a flood: its other routes count as dead too, those of others do not', () => {
  const routes = new DeadRoutes()
  flood(routes, 7, 0)
  expect(routes.isDead(to('new'), 1)).toBe(false)
  routes.died(to('dead.7'), 1)
  expect([routes.isDead(to('new'), 2), routes.isDead(to('new', 'other'), 2)]).toEqual([true, false])
  routes.lives(to('dead.3'))
  expect(routes.isDead(to('new'), 2)).toBe(false)
})

test('the same route eight times is no flood', () => {
  const routes = new DeadRoutes()
  for (let n = 0; n < 8; n++) routes.died(to('a'), n)
  expect(routes.isDead(to('b'), 10)).toBe(false)
})

// Routes that died long ago counted for ever: one more dead route made a flood of them.
test('routes that came back 60 s ago are no part of a flood', () => {
  const routes = new DeadRoutes()
  flood(routes, 20, 0)
  expect(routes.isDead(to('new'), 59_999)).toBe(true)
  routes.died(to('fresh'), 60_000)
  expect([routes.isDead(to('new'), 60_000), routes.isDead(to('fresh'), 60_001)]).toEqual([false, true])
})

test('what a flood to 200,000 routes takes is bounded, in memory and in time', () => {
  const routes = new DeadRoutes()
  const before = performance.now()
  for (let n = 0; n < 200_000; n++) {
    const message = { ...to('x'), routingKey: `dead.${n}` }
    routes.isDead(message, n / 100)
    routes.died(message, n / 100)
  }
  expect(performance.now() - before).toBeLessThan(5000)
  expect(routes.size).toBeLessThanOrEqual(10_000)
  expect(routes.isDead(to('dead.199999'), 2000)).toBe(true)
})

test('an exchange that cost a channel is spared for 15 s', () => {
  const routes = new DeadRoutes()
  routes.refused('gone', 1000)
  expect([
    routes.isRefused('gone', 15_999),
    routes.isRefused('gone', 16_000),
    routes.isRefused('gone', 16_001),
  ]).toEqual([true, false, false])
  expect(routes.isRefused('other', 1000)).toBe(false)
})

test('a hundred events that came back from a route within a second make a flood: every 50 ms one goes as a probe', () => {
  const routes = new DeadRoutes()
  for (let n = 0; n < 99; n++) routes.died(to('a'), 0)
  expect(routes.isFlooded(to('a'), 100)).toBe(false)
  routes.died(to('a'), 100)
  expect([100, 110, 149, 150, 151, 200].map((now) => routes.isFlooded(to('a'), now))).toEqual([
    ...[false, true, true, false, true, false],
  ])
  expect(routes.isFlooded(to('b'), 120)).toBe(false)
})

test('a flood is over a second after it began, or with the first event that the broker takes', () => {
  const routes = new DeadRoutes()
  for (let n = 0; n < 200; n++) routes.died(to('a'), 0)
  expect([routes.isFlooded(to('a'), 10), routes.isFlooded(to('a'), 1000), routes.isFlooded(to('a'), 1001)]).toEqual([
    ...[true, false, false],
  ])
  for (let n = 0; n < 200; n++) routes.died(to('a'), 2000)
  expect(routes.isFlooded(to('a'), 2010)).toBe(false)
  expect(routes.isFlooded(to('a'), 2020)).toBe(true)
  routes.lives(to('a'))
  expect(routes.isFlooded(to('a'), 2030)).toBe(false)
})

test('a hundred returns over more than a second are no flood', () => {
  const routes = new DeadRoutes()
  for (let n = 0; n < 200; n++) {
    routes.died(to('a'), n * 20)
    expect(routes.isFlooded(to('a'), n * 20 + 1)).toBe(false)
  }
})

test('a route that takes events during a flood is tried again when one comes back, as its queue may be bound anew', () => {
  const routes = new DeadRoutes()
  flood(routes, 8, 0)
  routes.lives(to('good'))
  expect([routes.isDead(to('good'), 1), routes.isDead(to('unknown'), 1)]).toEqual([false, true])
})
