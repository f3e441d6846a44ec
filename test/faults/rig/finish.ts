import { setTimeout as delay } from 'node:timers/promises'
import { checkBounds } from '../checkers/bounds.ts'
import { checkFewRepeats, repeats, sessionStarts } from '../checkers/few-repeats.ts'
import type { Delivery, LedgerView } from '../checkers/history.ts'
import { checkNoLoss, lostEvents } from '../checkers/no-loss.ts'
import { checkNothingUncommitted } from '../checkers/nothing-uncommitted.ts'
import { checkOracle } from '../checkers/oracle.ts'
import { checkOrder, outOfOrder } from '../checkers/order.ts'
import { checkAcknowledgedIsStored, checkOnlyForward } from '../checkers/positions.ts'
import { checkLiveIsNoReplay } from '../checkers/replayed.ts'
import { checkSecrets } from '../checkers/secrets.ts'
import { checkSlots } from '../checkers/slots.ts'
import type { Violation } from '../checkers/violation.ts'
import type { Figures } from '../row.ts'
import { readDeadLetters, readSlots } from './bookkeeping.ts'
import { drain, type SceneQueue } from './queues.ts'
import type { Scene } from './scene.ts'
import { secrets } from './scene-parts.ts'
import { readTrace } from './trace.ts'

export interface FinishOptions {
  /** How often the fault was made; 1. */
  readonly runs?: number
  /** false: the row ends halted or blocked, so what has not arrived is not lost. */
  readonly delivered?: boolean
  /** How long the rest may take to arrive, milliseconds; 60,000. */
  readonly patience?: number
  /** For the table. */
  readonly note?: string
}

const usualMemoryLimit = 256 * 1024 * 1024

export async function finishScene(scene: Scene, options: FinishOptions): Promise<Figures> {
  const { parts, notes } = scene
  const { delivered = true, patience = 60_000, runs = 1, note } = options
  await parts.load.stop()
  const { query } = parts.database
  const deadBefore = await readDeadLetters(query, parts.name)
  parts.arrivals.excuse(deadBefore)
  if (delivered) await awaitRest(scene, patience)
  notes.violations.push(...(await stopBridges(scene, delivered)))
  for (const queue of parts.queues) await drain(parts.rabbit, queue)
  await parts.monitor.stop()
  await parts.witness?.read()
  const changes = parts.options.trace === false ? [] : await readTrace(query, parts.name)
  const dead = await readDeadLetters(query, parts.name)
  for (const { consumer } of parts.queues) await consumer.stop()

  const { ledger } = parts.load
  const deliveries = parts.queues.map(({ consumer }) => consumer.deliveries)
  const witnessed = parts.witness?.rows
  const lost = delivered
    ? [
        ...parts.queues.flatMap((queue) => lostEvents(expectedIn(ledger, queue), queue.consumer.ids, dead)),
        ...lostEvents(takenByNone(ledger, parts.queues), new Set(), dead),
      ]
    : []
  const losses = sum(parts.bridges.map(({ brokerLosses }) => brokerLosses))
  const interruptions = sessionStarts(changes).length + losses
  const { window, storeInterval } = parts
  const { explained, stale } = notes
  const repeatFacts = { changes, interruptions, window, storeInterval, explained, stale }
  const violations = [
    ...notes.violations,
    ...(witnessed === undefined ? [] : checkOracle(ledger, witnessed)),
    ...checkNoLoss(lost),
    ...deliveries.flatMap((each) => [
      ...checkNothingUncommitted(ledger, each),
      ...checkLiveIsNoReplay(each),
      ...betweenTurns(each, notes.turns).flatMap((part) =>
        checkOrder({ deliveries: part, witnessed, order: parts.options.order ?? 'commit', interruptions }),
      ),
      ...checkFewRepeats({ ...repeatFacts, deliveries: each }),
    ]),
    ...checkAcknowledgedIsStored(parts.monitor.samples.filter(({ at }) => at < notes.slotMovedAt)),
    ...checkOnlyForward(changes),
    ...checkBounds(notes.bounds),
    ...checkMemory(scene),
    ...checkSlots(await readSlots(query, parts.name)),
    ...parts.monitor.leaks,
    ...checkSecrets(
      parts.bridges.map(({ name, log }) => ({ where: `log of ${name}`, text: log })),
      secrets,
    ),
  ]
  return {
    runs,
    events: ledger.committed.size,
    lost: lost.length,
    outOfOrder: sum(deliveries.map((each) => outOfOrder(each).length)),
    repeated: sum(deliveries.map((each) => repeats(each).length)),
    recovery_ms: notes.recoveries_ms.length === 0 ? null : Math.max(...notes.recoveries_ms),
    violations,
    ...(note !== undefined && { note }),
  }
}

/** Dead letters that come to be while it waits do not arrive either. */
async function awaitRest({ parts }: Scene, patience: number): Promise<void> {
  const deadline = Date.now() + patience
  const { committed } = takenByNone(parts.load.ledger, parts.queues)
  for (;;) {
    const caughtUp = await parts.arrivals.untilCaughtUp(2000)
    const dead = await readDeadLetters(parts.database.query, parts.name)
    if (caughtUp && [...committed.keys()].every((id) => dead.has(id))) return
    if (Date.now() > deadline) return
    parts.arrivals.excuse(dead)
    await delay(100)
  }
}

/** The active one last, so that no stand-by takes over. A graceful stop ends with 0. */
async function stopBridges(scene: Scene, delivered: boolean): Promise<Violation[]> {
  const active = await scene.active()
  const running = scene.bridges.filter(({ isRunning }) => isRunning)
  const violations: Violation[] = []
  for (const bridge of [...running.filter((bridge) => bridge !== active), ...running.filter((it) => it === active)]) {
    const code = await bridge.stop()
    if (code === 0 || !delivered) continue
    const what = `${bridge.name} stopped with ${code} instead of 0\n${bridge.log.slice(-2000)}`
    violations.push({ invariant: 'I8', what, count: 1 })
  }
  return violations
}

/** What a queue is to hold: where there are several, events go to those that take them. */
function expectedIn({ committed }: LedgerView, { takes }: SceneQueue): Pick<LedgerView, 'committed'> {
  return { committed: new Map([...committed].filter(([, { aggregate }]) => takes(aggregate))) }
}

/** What only the dead letters can hold. */
function takenByNone({ committed }: LedgerView, queues: readonly SceneQueue[]): Pick<LedgerView, 'committed'> {
  return {
    committed: new Map([...committed].filter(([, { aggregate }]) => !queues.some(({ takes }) => takes(aggregate)))),
  }
}

function betweenTurns(deliveries: readonly Delivery[], turns: readonly number[]): Delivery[][] {
  const edges = [Number.NEGATIVE_INFINITY, ...turns, Number.POSITIVE_INFINITY]
  return edges.slice(1).map((to, n) => {
    const from = edges[n] ?? Number.NEGATIVE_INFINITY
    return deliveries.filter(({ arrivedAt }) => arrivedAt >= from && arrivedAt < to)
  })
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}

function checkMemory({ parts }: Scene): Violation[] {
  const limit = parts.options.memoryLimit ?? usualMemoryLimit
  return checkBounds(
    parts.bridges.map(({ name, residentBytes }) => ({
      invariant: 'I8',
      what: `resident memory of ${name}`,
      value: residentBytes,
      limit,
    })),
  )
}
