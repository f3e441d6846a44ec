import { expect, test } from 'vitest'
import { sinkUrlProblem, sourceUrlProblem, splitUrls } from '../../src/config/urls.ts'

test.each([
  'postgres://app:secret@db:5432/shop',
  'postgresql://app@db/shop?sslmode=verify-full&sslrootcert=/etc/ca.pem',
  'postgres://app:p%40ss%2Fword@db/shop?sslmode=require',
  'postgres://app@/shop?host=/var/run/postgresql',
  'postgres://app@[::1]:5432/shop?sslmode=disable',
])('%s is a fine source.url', (url) => {
  expect(sourceUrlProblem(url)).toBeUndefined()
})

test.each([
  ['mysql://app@db/shop', 'of the form postgres://'],
  ['db:5432/shop', 'of the form postgres://'],
  ['postgres://app:p/w@db/shop', 'of the form postgres://'],
  ['postgres://app:12/34@db/shop', 'of the form postgres://'],
  ['postgres://app@db:99999/shop', 'of the form postgres://'],
  ['postgres://app@a,b/shop', 'expected one host'],
  ['postgres://app@db/shop?sslmode=prefer', 'expected sslmode to be one of disable, require'],
  ['postgres://app@db/shop?sslmode=allow', 'expected sslmode to be one of disable, require'],
  ['postgres://app@db/shop?sslmode=no-verify', 'expected sslmode to be one of disable, require'],
  ['postgres://app@db/shop?connect_timeout=5s', 'expected connect_timeout in whole seconds'],
  ['postgres://app@db/shop?ssl=true', 'expected no parameter ssl'],
])('%s is refused as source.url', (url, expected) => {
  expect(sourceUrlProblem(url)?.expected).toContain(expected)
})

test.each(['amqp://guest:guest@localhost', 'amqps://u:p%40@mq:5671/%2Fshop', 'amqp://u:p@[::1]:5672/shop'])(
  '%s is a fine sink.url',
  (url) => {
    expect(sinkUrlProblem(url)).toBeUndefined()
  },
)

test.each([
  ['http://mq', 'of the form amqps://'],
  ['mq:5672', 'of the form amqps://'],
  ['amqp://', 'host is missing'],
  ['amqp://u:p/w@mq', 'of the form amqps://'],
  ['amqp://u:p#w@mq', 'of the form amqps://'],
  ['amqp://u:12/34@mq', 'of the form amqps://'],
  ['amqp://u:p@mq//shop', 'one vhost'],
  ['amqps://u:p@mq/?verify=verify_none', 'no query parameters'],
])('%s is refused as sink.url', (url, expected) => {
  expect(sinkUrlProblem(url)?.expected).toContain(expected)
})

test('no problem repeats any part of a url', () => {
  const told = [sourceUrlProblem('postgres://canary:canary@canary:x/canary'), sinkUrlProblem('canary://canary')]
  expect(JSON.stringify(told)).not.toContain('canary')
})

test('a list of urls is split where a scheme follows the comma', () => {
  expect(splitUrls('amqp://a:x,y@h1, amqp://b@h2')).toEqual(['amqp://a:x,y@h1', 'amqp://b@h2'])
})
