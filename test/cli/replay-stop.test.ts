import { expect, onTestFinished, test } from 'vitest'
import { ReplayStop } from '../../src/cli/replay-stop.ts'
import { contextOn } from '../support/cli-context.ts'

function stage() {
  const others = process.listeners('SIGTERM')
  let said = ''
  const stop = new ReplayStop(contextOn({ write: (text) => (said += text) }))
  onTestFinished(() => stop.dispose())
  const own = () => process.listeners('SIGTERM').filter((listener) => !others.includes(listener))
  return { stop, own, signal: () => own()[0]!('SIGTERM'), said: () => said }
}

test('what only looks gives its result, or its error, while nobody asks for a stop', async () => {
  const { stop } = stage()
  expect(await stop.cut(async () => 7)).toBe(7)
  await expect(stop.cut(() => Promise.reject(new Error('refused')))).rejects.toThrow('refused')
  expect(stop.asked).toBe(false)
})

test('a signal cuts short what only looks, and what would look after it is not begun', async () => {
  const { stop, signal, said } = stage()
  let fail: (error: Error) => void = () => {}
  const cut = stop.cut(
    () =>
      new Promise((_, reject) => {
        fail = reject
      }),
  )
  signal()
  expect(await cut).toBeUndefined()
  expect([stop.asked, said()]).toEqual([true, '\nstopping\n'])
  // Nobody waits for it any more: its failure is none of the process.
  fail(new Error('too late'))
  expect(await stop.cut(() => Promise.reject(new Error('begun')))).toBeUndefined()
})

test('what publishes is told, in its own words, also when the signal came before it was there', () => {
  const told: string[] = []
  const before = stage()
  before.signal()
  before.stop.tell(() => told.push('before'), 'waiting')
  expect([told, before.said()]).toEqual([['before'], '\nstopping\n'])
  const after = stage()
  after.stop.tell(() => told.push('after'), 'waiting')
  after.signal()
  expect([told, after.said()]).toEqual([['before', 'after'], '\nwaiting\n'])
})

test('once it is over nobody listens any more', () => {
  const { stop, own } = stage()
  expect(own()).toHaveLength(1)
  stop.dispose()
  expect(own()).toEqual([])
})
