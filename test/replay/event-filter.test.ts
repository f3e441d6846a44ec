import { expect, test } from 'vitest'
import { destinationOf, redirect } from '../../src/replay/destination.ts'
import { compileFilter, parseFilterTerm } from '../../src/replay/event-filter.ts'
import { compileGlob } from '../../src/routing/glob.ts'
import type { RoutedEvent } from '../../src/routing/routing.ts'
import { windowRow } from '../sink/window-rows.ts'

const event = (columns: Partial<Record<'eventId' | 'aggregateType' | 'aggregateId' | 'type', string | null>>) =>
  ({
    ...windowRow({ commitLsn: 1n, ordinal: 0 }),
    eventId: 'e1',
    aggregateType: 'order',
    aggregateId: '7',
    type: 'Placed',
    ...columns,
  }) as RoutedEvent

function admits(...terms: string[]): (event: RoutedEvent) => boolean {
  return compileFilter(terms.map(parseFilterTerm), compileGlob)
}

test('without a term everything passes', () => {
  expect(admits()(event({ type: null }))).toBe(true)
})

test('terms of one key are alternatives, those of several keys must all hold', () => {
  const passes = admits('type=Placed', 'type=Paid*', 'aggregate_type=ord?r')
  expect(passes(event({}))).toBe(true)
  expect(passes(event({ type: 'PaidLate' }))).toBe(true)
  expect(passes(event({ type: 'Shipped' }))).toBe(false)
  expect(passes(event({ aggregateType: 'customer' }))).toBe(false)
})

test('a pattern may hold an equals sign, and a NULL column counts as empty', () => {
  expect(admits('aggregate_id=a=b')(event({ aggregateId: 'a=b' }))).toBe(true)
  expect(admits('aggregate_id=*')(event({ aggregateId: null }))).toBe(true)
  expect(admits('id=e?')(event({}))).toBe(true)
})

test.each(['type', 'type=', '=x', 'payload=x', 'TYPE=x', ''])('%j is refused with the keys that there are', (text) => {
  expect(() => parseFilterTerm(text)).toThrow(/--where is .*, expected one of type, aggregate_type, aggregate_id, id/)
})

test('a destination changes exchange and routing key, and nothing else', () => {
  const message = { exchange: 'a', routingKey: 'k', body: Buffer.from('b'), properties: {} }
  const routed = { ...event({}), message } as unknown as RoutedEvent
  expect(redirect(routed, {})).toBe(routed)
  expect(redirect(routed, { exchange: 'b' }).message).toEqual({ ...message, exchange: 'b' })
  expect(redirect(routed, { routingKey: 'x' }).message).toEqual({ ...message, routingKey: 'x' })
  const toQueue = redirect(routed, destinationOf({ from: '', where: [], queue: 'q' }))
  expect(toQueue.message).toEqual({ ...message, exchange: '', routingKey: 'q' })
  expect(toQueue.message!.body).toBe(message.body)
})
