import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createScrubber, redactUrl, redactUrls } from '../../src/base/secrets.ts'

test.each([
  ['postgres://app:secret@db/shop', 'postgres://app:***@db/shop'],
  ['postgres://app@db/shop', 'postgres://app@db/shop'],
  ['amqp://mq', 'amqp://mq'],
  ['amqp://u:p@h1,amqp://u:p@h2', 'amqp://u:***@h1,amqp://u:***@h2'],
  ['postgres://app:a@b/c?d#e@db/shop', 'postgres://app:***@db/shop'],
  ['postgres://app:se cret@db', 'postgres://app:***@db'],
  ['postgres://db/shop?user=u&password=x&sslmode=require', 'postgres://db/shop?user=u&password=***&sslmode=require'],
])('%s is shown as %s', (url, shown) => {
  expect(redactUrl(url)).toBe(shown)
})

test('urls inside of a text are masked, the text around them stays', () => {
  const text = 'cannot reach "amqp://u:pw@h1:5672" nor postgres://a:b@c/d, giving up; see https://example.org/a@b'
  expect(redactUrls(text)).toBe(
    'cannot reach "amqp://u:***@h1:5672" nor postgres://a:***@c/d, giving up; see https://example.org/a@b',
  )
})

test('a password is replaced as it stands, URI-encoded, decoded, and inside JSON', () => {
  const scrub = createScrubber(['postgres://app:p%40ss%22w%2f@db/shop'])
  expect(scrub('p%40ss%22w%2f p@ss"w/ p%40ss%22w%2F')).toBe('*** *** ***')
  expect(scrub(JSON.stringify({ text: 'p@ss"w/' }))).toBe('{"text":"***"}')
})

test('plain secrets are replaced, and the longer of two goes first', () => {
  expect(createScrubber(['abcd', 'abcdef'])('abcdef abcd')).toBe('*** ***')
})

test('a secret made known later is replaced from then on', () => {
  const scrub = createScrubber([])
  expect(scrub('rotated')).toBe('rotated')
  scrub.add('amqp://u:rotated@h')
  expect(scrub('rotated')).toBe('***')
})

test('a password of one letter does not blank the whole text, but is masked in a url', () => {
  const scrub = createScrubber(['amqp://u:a@h'])
  expect(scrub('a bad day at amqp://u:a@h')).toBe('a bad day at amqp://u:***@h')
})

test('no password ever survives, however it is written in the url', () => {
  const password = fc
    .string({ minLength: 4, maxLength: 30, unit: 'grapheme-ascii' })
    .filter((text) => text.trim() === text)
  fc.assert(
    fc.property(password, fc.boolean(), (plain, encode) => {
      const url = `amqp://user:${encode ? encodeURIComponent(plain) : plain}@host/x`
      const scrub = createScrubber([url])
      const leaks = [plain, `login failed with ${plain}.`, encodeURIComponent(plain), url, JSON.stringify({ plain })]
      for (const text of leaks) {
        const clean = scrub(text)
        // What the mask or the words around are made of is no leak.
        if (!'login failed with . *** {"plain":""} amqp://user:***@host/x'.includes(plain))
          expect(clean).not.toContain(plain)
      }
    }),
    { numRuns: 300 },
  )
})
