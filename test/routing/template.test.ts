import { expect, test } from 'vitest'
import { BridgeError } from '../../src/base/errors.ts'
import { compileTemplate } from '../../src/routing/template.ts'

const values = { aggregate_type: 'order', aggregate_id: '42', type: 'placed', id: '8c5d' }

test.each([
  ['{aggregate_type}.{type}', 'order.placed'],
  ['{aggregate_type}.{aggregate_id}.{id}', 'order.42.8c5d'],
  ['fixed', 'fixed'],
  ['', ''],
  ['{{{type}}}', '{placed}'],
  ['{{type}}', '{type}'],
  ['{{}}{type}', '{}placed'],
  ['ünï.{type}.*', 'ünï.placed.*'],
])('the template %j renders %j', (source, expected) => {
  expect(compileTemplate(source).render(values)).toBe(expected)
})

test('a value that looks like a template is not rendered again', () => {
  expect(compileTemplate('{type}').render({ ...values, type: '{id}' })).toBe('{id}')
})

test('a template knows the names that it holds', () => {
  expect([...compileTemplate('{aggregate_type}.{type}.{type}').names]).toEqual(['aggregate_type', 'type'])
})

test.each([
  ['{agregate_type}.x', 'unknown name {agregate_type} at position 1', 'did you mean {aggregate_type}?'],
  ['x.{aggregateId}', 'unknown name {aggregateId} at position 3', 'did you mean {aggregate_id}?'],
  ['{typ}', 'unknown name {typ} at position 1', 'did you mean {type}?'],
  ['{}', 'unknown name {} at position 1', 'known are aggregate_type, aggregate_id, type, id'],
  ['{something_else}', 'unknown name {something_else} at position 1', 'known are'],
  ['{ type }', 'unknown name { type } at position 1', 'did you mean {type}?'],
  ['a{type', 'unbalanced { at position 2', 'write {{ for a literal brace'],
  ['a}', 'unbalanced } at position 2', 'write }} for a literal brace'],
  ['{type}}', 'unbalanced } at position 7', 'write }} for a literal brace'],
  ['{{type}', 'unbalanced } at position 7', 'write }}'],
])('the template %j is refused with its position and a remedy', (source, what, remedy) => {
  const error = caught(() => compileTemplate(source))
  expect(error.code).toBe('CONFIG_INVALID')
  expect(error.message).toContain(JSON.stringify(source))
  expect(error.message).toContain(what)
  expect(error.message).toContain(remedy)
})

test('a name that resembles none is not guessed at', () => {
  for (const source of ['{something_else}', '{kind}', '{}']) {
    expect(caught(() => compileTemplate(source)).message).not.toContain('did you mean')
  }
})

function caught(run: () => unknown): BridgeError {
  try {
    run()
  } catch (error) {
    if (error instanceof BridgeError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}
