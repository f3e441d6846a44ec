import { expect, test } from 'vitest'
import { parseBrokerUrl } from '../../src/sink/broker-address.ts'

test('an url is taken apart, with user and password decoded as UTF-8 and the vhost left as it is', () => {
  expect(parseBrokerUrl('amqps://b%C3%BCro:p%40ss%2Fw%C3%B6rd@broker.example:5999/my%2Fshop')).toEqual({
    secure: true,
    host: 'broker.example',
    port: 5999,
    vhost: 'my%2Fshop',
    username: 'büro',
    password: 'p@ss/wörd',
    endpoint: 'amqps://broker.example:5999/my%2Fshop',
  })
})

test.each([
  ['amqp://broker', { port: 5672, vhost: '', username: 'guest', password: 'guest', endpoint: 'amqp://broker:5672' }],
  ['amqps://broker/', { port: 5671, endpoint: 'amqps://broker:5671' }],
  ['amqp://u@broker', { username: 'u', password: '' }],
  ['amqp://[::1]:7', { host: '::1', port: 7, endpoint: 'amqp://[::1]:7' }],
  ['amqp://u:100%@broker', { password: '100%' }],
])('%s', (url, expected) => {
  expect(parseBrokerUrl(url)).toMatchObject(expected)
})

test.each(['http://u:hunter2@broker', 'amqp://u:hunter2@[broken', 'hunter2', ''])('%s is refused untold', (url) => {
  expect(() => parseBrokerUrl(url)).toThrow(/^not a RabbitMQ url \(expected amqp:/)
})
