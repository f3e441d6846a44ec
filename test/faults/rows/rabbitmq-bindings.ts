import { setTimeout as delay } from 'node:timers/promises'
import { parseLsn } from '../../../src/base/lsn.ts'
import { violationOf } from '../checkers/violation.ts'
import type { Scene } from '../rig/scene.ts'
import type { Figures, Row } from '../row.ts'
import { deadLetters, finishAfterRetry, parked, quiet, recoversBut, retryAll } from './rabbitmq-dead-letters.ts'

export const bindingRows: readonly Row[] = [
  {
    id: 'F59',
    title: 'binding removed, unroutable: dead-letter; retried after the mend',
    expect: 'D',
    quick: true,
    everyTime: true,
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed, ...parked })
      await scene.start()
      await scene.flow(200)
      await unbind(scene)
      const { state } = await scene.bridge.until(({ counters }) => counters.deadLettered >= 200, 30_000, 'dead letters')
      scene.expect(state === 'streaming', 'I8', `the state is ${state} instead of streaming`)
      const codes = [...new Set((await deadLetters(scene)).map(({ code }) => code))].sort().join()
      const expected = ['EVENT_PARKED,EVENT_UNROUTABLE', 'EVENT_UNROUTABLE']
      scene.expect(expected.includes(codes), 'I1', `dead letters are of ${codes}`)
      await bind(scene)
      await recoversBut(scene, 'the queue is bound again', 15_000)
      return finishAfterRetry(scene, runs)
    },
  },
  {
    id: 'F59',
    title: 'binding removed, unroutable: block; waits, and goes on after the mend',
    expect: 'H',
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({
        seed,
        ...parked,
        env: { ...parked.env, WAL2RABBIT_DELIVERY_UNROUTABLE: 'block' },
      })
      await scene.start()
      await scene.flow(200)
      await unbind(scene)
      const { reason } = await scene.bridge.until(({ state }) => state === 'blocked', 30_000, 'blocked')
      scene.expect(reason?.code === 'EVENT_UNROUTABLE', 'I9', `the reason is ${reason?.code}`)
      scene.expect(!(await scene.bridge.ready()), 'I9', 'ready though it is blocked')
      // Long enough for the socket to be let go, and for a new session to try the event again.
      await delay(35_000)
      const { state } = await scene.bridge.until(() => true)
      scene.expect(state === 'blocked', 'I9', `the state is ${state} instead of blocked after 35 s`)
      await scene.bridge.kill()
      await scene.checkHeld('blocked by policy')
      scene.bridge.start()
      await scene.bridge.until((status) => status.state === 'blocked', 30_000, 'blocked again')
      await bind(scene)
      await scene.recovers('the queue is bound again', 15_000)
      const { deadLettered, dropped } = (await scene.bridge.until(() => true)).counters
      scene.expect(
        deadLettered + dropped === 0,
        'I1',
        `${deadLettered} dead letters, ${dropped} dropped, none expected`,
      )
      return scene.finish({ runs })
    },
  },
  {
    id: 'F59',
    title: 'binding removed, unroutable: drop; as many are missing as were dropped',
    expect: 'D',
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed, env: { WAL2RABBIT_DELIVERY_UNROUTABLE: 'drop' } })
      await scene.start()
      await scene.flow(200)
      await unbind(scene)
      const { state } = await scene.bridge.until(({ counters }) => counters.dropped >= 200, 30_000, '200 dropped')
      scene.expect(state === 'streaming', 'I8', `the state is ${state} instead of streaming`)
      await bind(scene)
      await scene.untilNewEvent()
      await scene.flow(100)
      await quiet(scene)
      const { dropped, deadLettered } = (await scene.bridge.until(() => true)).counters
      scene.expect(deadLettered === 0, 'I1', `${deadLettered} dead letters with the policy drop`)
      const figures = await scene.finish({ runs, patience: 1000, note: `${dropped} dropped by policy` })
      const what = `${figures.lost} missing, ${dropped} dropped`
      const others = figures.violations.filter(({ invariant }) => invariant !== 'I1')
      const wrong = figures.lost === dropped ? [] : [{ invariant: 'I1' as const, what, count: 1 }]
      return { ...figures, lost: figures.lost - dropped, violations: [...others, ...wrong] }
    },
  },
  {
    id: 'F61',
    title: 'queue deleted with unconfirmed publishes, and made again',
    expect: 'R',
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed, ...parked })
      const { bridge } = scene
      await scene.start()
      await scene.flow(300)
      const { pid } = bridge
      // So that some are on their way.
      scene.rabbit.proxy.latency(200, 'to-client')
      await bridge.until(({ window }) => window.inFlight >= 3, 20_000, 'unconfirmed publishes')
      const { messageCount } = await scene.withChannel((channel) => channel.deleteQueue(scene.queue))
      const [row] = await scene.query('SELECT pg_current_wal_lsn()::text AS lsn')
      scene.rabbit.proxy.heal()
      await bridge.until(({ counters }) => counters.deadLettered >= 100, 30_000, 'dead letters')
      scene.expect(bridge.isRunning && bridge.pid === pid, 'I8', 'the process ended')
      await scene.withChannel(async (channel) => {
        await channel.assertQueue(scene.queue, { durable: true, arguments: { 'x-queue-type': 'quorum' } })
        await channel.bindQueue(scene.queue, scene.exchange, '#')
      })
      await scene.untilNewEvent()
      await quiet(scene)
      await retryAll(scene)
      const figures = await scene.finish({ runs, patience: 5000 })
      return withoutBoundary(scene, String(row?.lsn), messageCount, figures)
    },
  },
]

/**
 * What the broker confirmed to a queue that was being deleted is gone, and no publisher can know: at most what was on its
 * way and what lay in the queue. Whatever committed after the deletion may not be missing.
 */
function withoutBoundary(scene: Scene, deletedAt: string, inQueue: number, figures: Figures): Figures {
  const { witness, window, load } = scene.parts
  const missing = [...load.ledger.committed.keys()].filter((id) => !scene.consumer.ids.has(id))
  const end = parseLsn(deletedAt)
  const later = new Set(witness?.rows.filter(({ commitLsn }) => commitLsn > end).map(({ id }) => id))
  const wrong = missing.filter((id) => later.has(id))
  const limit = window + inQueue
  const tooMany = missing.length > limit ? [`${missing.length} missing, at most ${limit} were on their way`] : []
  return {
    ...figures,
    lost: wrong.length,
    violations: [
      ...figures.violations.filter(({ invariant }) => invariant !== 'I1'),
      ...violationOf('I1', 'committed after the queue was deleted, and nowhere', wrong),
      ...violationOf('I1', 'lost with the queue', tooMany),
    ],
    note: `${missing.length} went with the queue, confirmed by the broker`,
  }
}

async function unbind(scene: Scene): Promise<void> {
  await scene.withChannel((channel) => channel.unbindQueue(scene.queue, scene.exchange, '#'))
}

async function bind(scene: Scene): Promise<void> {
  await scene.withChannel((channel) => channel.bindQueue(scene.queue, scene.exchange, '#'))
}
