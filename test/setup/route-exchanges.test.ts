import { expect, test } from 'vitest'
import { routeExchanges } from '../../src/setup/route-exchanges.ts'

test('each exchange of a route counts once, under the first route that names it', () => {
  const routes = [{ exchange: 'billing' }, {}, { exchange: 'audit' }, { exchange: 'billing' }, { exchange: 'outbox' }]
  expect(routeExchanges('outbox', routes)).toEqual([
    { name: 'billing', key: 'routes[0].exchange' },
    { name: 'audit', key: 'routes[2].exchange' },
  ])
})

test('without routes there is nothing beside sink.exchange', () => {
  expect(routeExchanges('outbox', [])).toEqual([])
})
