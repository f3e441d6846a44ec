import { expect, test } from 'vitest'
import { gateStage, go, nacked, unroutable } from './gate-stage.ts'

const minute = 60_000
const keepReturned = { kind: 'keep', refusal: unroutable } as const

/** Uses up both attempts of the first row and keeps it: its route is dead from `now` on. */
function killRoute({ send, fail, keep }: ReturnType<typeof gateStage>, now = 0): void {
  fail(send(), unroutable, now - 100)
  fail(send(), unroutable, now)
  keep()
}

test('the first event of a dead route gets all its attempts, later ones are given up at their first return', () => {
  const stage = gateStage()
  const { next, send, fail, unsent } = stage
  const first = send()
  fail(first, unroutable, 0)
  expect(next(100)).toEqual(go)
  fail(send(), unroutable, 100)
  expect([next(100), unsent()]).toEqual([keepReturned, first])
  stage.window.keep(first, false)
  const second = send()
  fail(second, unroutable, 200)
  expect([next(200), second.attempts]).toEqual([keepReturned, 1])
})

test('an event to a dead route is still sent: it is the probe that finds out when a queue is bound', () => {
  const stage = gateStage()
  killRoute(stage)
  expect(stage.next(1)).toEqual(go)
  stage.confirm(stage.send())
  // The route is good again: an event that comes back is tried again.
  stage.fail(stage.send(), unroutable, 2)
  expect(stage.next(2)).toEqual({ kind: 'wait', until: 102 })
})

test('a dead route is forgotten 60 s after the last event that came back from it', () => {
  const stage = gateStage()
  killRoute(stage)
  const { window, next, send, fail, unsent } = stage
  fail(send(), unroutable, minute - 1)
  expect(next(minute - 1)).toEqual(keepReturned)
  window.keep(unsent(), false)
  fail(send(), unroutable, 2 * minute)
  expect(next(2 * minute)).toEqual({ kind: 'wait', until: 2 * minute + 100 })
})

test('a nack on a dead route is no return: the event keeps its attempts', () => {
  const stage = gateStage()
  killRoute(stage)
  stage.fail(stage.send(), nacked, 1)
  expect(stage.next(1)).toEqual({ kind: 'wait', until: 101 })
})

test('an event whose policy is to block is tried again also on a dead route', () => {
  const stage = gateStage((n) => (n > 0 ? { unroutable: 'block' } : {}))
  killRoute(stage)
  for (const now of [1, 1000, 3000]) stage.fail(stage.send(), unroutable, now)
  expect(stage.next(9000)).toEqual(go)
})

/** Kills eight routes of the exchange `outbox`. */
function flood(stage: ReturnType<typeof gateStage>): void {
  const { push, send, fail, keep } = stage
  for (let n = 0; n < 4; n++) stage.confirm(send())
  push(0x20n, 8, (n) => ({ message: { routingKey: `dead.${n}` } }))
  for (let n = 0; n < 8; n++) {
    fail(send(), unroutable, -1000)
    fail(send(), unroutable, 0)
    keep()
  }
}

test('with eight dead routes an event to yet another route of the exchange is given up at its first return', () => {
  const stage = gateStage()
  flood(stage)
  stage.push(0x30n, 2, (n) => ({ message: { routingKey: 'new', exchange: n === 0 ? 'other' : 'outbox' } }))
  const [elsewhere, here] = [stage.send(), stage.send()]
  stage.fail(here, unroutable, 1)
  expect([stage.next(1), stage.unsent()]).toEqual([keepReturned, here])
  stage.fail(elsewhere, unroutable, 1)
  expect([stage.next(1), stage.unsent()]).toEqual([{ kind: 'wait', until: 101 }, elsewhere])
})

test('a route with a flood gets a probe now and then, and what is not sent is kept', () => {
  const stage = gateStage()
  killRoute(stage)
  const { push, send, fail, next, keep } = stage
  push(0x20n, 200)
  for (let n = 0; n < 102; n++) {
    fail(send(), unroutable, 100)
    keep()
  }
  expect([next(100), next(149), next(150)]).toMatchObject([
    go,
    { kind: 'keep', refusal: { code: 'EVENT_UNROUTABLE' } },
    go,
  ])
  stage.confirm(send())
  expect([next(151), next(152)]).toEqual([go, go])
})

test.each(['block', 'drop'] as const)('in a flood an event whose policy is to %s is sent all the same', (policy) => {
  const stage = gateStage()
  killRoute(stage)
  const { push, send, fail, next, keep } = stage
  for (let n = 0; n < 3; n++) stage.window.settle(send())
  push(0x20n, 110, (n) => ({ unroutable: n < 105 ? 'dead-letter' : policy }))
  for (let n = 0; n < 105; n++) {
    fail(send(), unroutable, 100)
    keep()
  }
  expect([next(101), next(102)]).toEqual([go, go])
})

test.each([
  [404, 'NOT_FOUND'],
  [403, 'ACCESS_REFUSED'],
])('an exchange that cost a channel with %i is spared for 15 s, and its events are kept', (code, text) => {
  const { gate, next, unsent, send, window } = gateStage()
  gate.blame(unsent(), { code, text }, 0)
  expect(next(0)).toMatchObject({
    kind: 'keep',
    refusal: { code: 'EVENT_REFUSED', text: `the broker closed the channel: ${code} ${text}` },
  })
  window.keep(unsent(), false)
  expect(next(14_999)).toMatchObject({ kind: 'keep', refusal: { code: 'EVENT_REFUSED' } })
  expect(next(15_000)).toEqual(go)
  send()
})

test('an event that was spared is not one that the broker refused: after the time it would be sent', () => {
  const { gate, next, unsent, window } = gateStage((n) => ({ message: { exchange: n === 3 ? 'other' : 'gone' } }))
  gate.blame(unsent(), { code: 404, text: 'NOT_FOUND' }, 0)
  window.keep(unsent(), false)
  expect(next(10)).toMatchObject({ kind: 'keep' })
  window.keep(unsent(), false)
  window.keep(unsent(), false)
  expect([next(10), unsent().ordinal]).toEqual([go, 3])
})

test('406 tells of the message: its exchange is not spared', () => {
  const { gate, next, unsent, window } = gateStage()
  gate.blame(unsent(), { code: 406, text: 'PRECONDITION_FAILED' }, 0)
  expect(next(0)).toMatchObject({ kind: 'keep', refusal: { code: 'EVENT_REFUSED' } })
  window.keep(unsent(), false)
  expect(next(1)).toEqual(go)
})

const gone = { code: 404, text: "NOT_FOUND - no exchange 'outbox' in vhost '/'" }
const denied = { code: 403, text: "ACCESS_REFUSED - access to exchange 'outbox' in vhost '/' refused for user 'app'" }
const topicDenied = {
  code: 403,
  text: "ACCESS_REFUSED - access to topic 'order.created' in exchange 'outbox' in vhost '/' refused for user 'app'",
}

/** What follows for the culprit and for the next event, when the broker closed the channel for the first. */
function blamed(reply: { code: number; text: string }, verified: boolean) {
  const { window, gate, send, keep, next } = gateStage(undefined, {
    verifiedExchanges: new Set(verified ? ['outbox'] : []),
  })
  const culprit = send()
  window.fail(culprit)
  gate.blame(culprit, reply, 0)
  const step = next(0).kind
  if (step === 'keep') keep()
  else window.settle(send())
  return [step, next(0).kind]
}

test.each([
  ['an exchange that only this event names is spared, whichever of the two', gone, false, ['keep', 'keep']],
  ['likewise where the exchange may not be written to', denied, false, ['keep', 'keep']],
  ['a routing key that is refused tells nothing of the exchange', topicDenied, false, ['keep', 'send']],
  ['an exchange that is there again blames nobody', gone, true, ['send', 'send']],
  ['a refusal by an exchange that may be written to is about the event', denied, true, ['keep', 'send']],
  ['likewise of a routing key', topicDenied, true, ['keep', 'send']],
])('%s', (_what, reply, verified, steps) => {
  expect(blamed(reply, verified)).toEqual(steps)
})

test('an exchange that comes and goes blames its event in the end', () => {
  const { window, gate, send, next } = gateStage(undefined, { verifiedExchanges: new Set(['outbox']) })
  for (const expected of ['send', 'keep']) {
    const culprit = send()
    window.fail(culprit)
    gate.blame(culprit, gone, 0)
    expect(next(0).kind).toBe(expected)
  }
})

test('where returns are not tried again, nacks still are', () => {
  const { next, send, fail } = gateStage(undefined, { retryReturned: false })
  fail(send(), nacked, 0)
  expect(next(0)).toEqual({ kind: 'wait', until: 100 })
  fail(send(), unroutable, 100)
  expect(next(100)).toEqual(keepReturned)
})
