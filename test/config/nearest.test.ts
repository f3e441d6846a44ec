import { expect, test } from 'vitest'
import { configKeys } from '../../src/config/keys.ts'
import { nearest } from '../../src/config/nearest.ts'

test.each([
  ['source.slto', 'source.slot'],
  ['slot', 'source.slot'],
  ['sink.confirm_window.messages', 'sink.confirmWindow.messages'],
  ['sink.routing_key', 'sink.routingKey'],
  ['sink.heartbeet', 'sink.heartbeat'],
  ['heartbeat', 'sink.heartbeat'],
  ['log.levl', 'log.level'],
])('%s is taken for %s', (word, key) => {
  expect(nearest(word, configKeys.keys())).toBe(key)
})

test('what resembles no key gets no suggestion', () => {
  expect(nearest('kafka.brokers', configKeys.keys())).toBeUndefined()
  expect(nearest('', configKeys.keys())).toBeUndefined()
})
