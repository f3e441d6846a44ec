import { setTimeout as delay } from 'node:timers/promises'
import type { Channel } from 'amqplib'
import type { ErrorCode } from '../../../src/base/errors.ts'
import { type Lsn, parseLsn } from '../../../src/base/lsn.ts'
import { SeededRandom } from '../../support/seeded-random.ts'
import type { Bound } from '../checkers/bounds.ts'
import { type Invariant, some, type Violation } from '../checkers/violation.ts'
import type { Figures } from '../row.ts'
import type { Load } from '../workload/load.ts'
import type { RigBridge } from './bridge.ts'
import { withChannel } from './channel.ts'
import type { Consumer } from './consumer.ts'
import { type FinishOptions, finishScene } from './finish.ts'
import { checkHalt } from './halt.ts'
import { checkHeld } from './held.ts'
import type { SceneQueue } from './queues.ts'
import type { SceneParts } from './scene-parts.ts'
import type { PostgresServer, RabbitServer } from './server.ts'
import { stretched } from './stretch.ts'

/** What a row has noted until its end. */
export interface Notes {
  readonly violations: Violation[]
  readonly bounds: Bound[]
  readonly recoveries_ms: number[]
  /** Repeats that the row explains, and those of them below the stored position. */
  explained: number
  stale: number
  /** When somebody else moved the slot; from then on its position says nothing about the bridge. Milliseconds. */
  slotMovedAt: number
  /** When the database became an older copy of itself, so that LSNs are used again. Milliseconds. */
  readonly turns: number[]
}

/** One row's world: an outbox, a slot, a queue, bridges, writers, and the machines that watch. */
export class Scene {
  readonly parts: SceneParts
  readonly random: SeededRandom
  readonly notes: Notes = {
    violations: [],
    bounds: [],
    recoveries_ms: [],
    explained: 0,
    stale: 0,
    slotMovedAt: Number.POSITIVE_INFINITY,
    turns: [],
  }

  constructor(parts: SceneParts) {
    this.parts = parts
    this.random = new SeededRandom(parts.options.seed)
  }

  /** The first of them. */
  get bridge(): RigBridge {
    return this.bridges[0]!
  }

  get bridges(): readonly RigBridge[] {
    return this.parts.bridges
  }

  get load(): Load {
    return this.parts.load
  }

  get queues(): readonly SceneQueue[] {
    return this.parts.queues
  }

  /** Of the first queue. */
  get consumer(): Consumer {
    return this.queues[0]!.consumer
  }

  get postgres(): PostgresServer {
    return this.parts.postgres
  }

  get rabbit(): RabbitServer {
    return this.parts.rabbit
  }

  get slot(): string {
    return this.parts.name
  }

  get exchange(): string {
    return this.parts.name
  }

  /** The first one. */
  get queue(): string {
    return this.parts.name
  }

  get database(): string {
    return this.parts.name
  }

  /** Starts all bridges, the first one first, then the load. Resolves when one streams and the others stand by. */
  async start(): Promise<void> {
    for (const [n, bridge] of this.bridges.entries()) {
      if (!bridge.isRunning) bridge.start()
      const wanted = n === 0 ? 'streaming' : 'standby'
      await bridge.until(({ state }) => state === wanted, 60_000, wanted)
    }
    this.load.start()
  }

  /** The bridge that streams, by its own word; undefined when none does. */
  async active(): Promise<RigBridge | undefined> {
    for (const bridge of this.bridges) {
      if ((await bridge.status())?.state === 'streaming') return bridge
    }
    return undefined
  }

  /** Resolves when so many more events arrived, the first time each. */
  async flow(events: number, timeout = 60_000): Promise<void> {
    const { arrivals } = this.parts
    const before = arrivals.count
    const target = before + events
    if (await arrivals.until(() => arrivals.count >= target, timeout)) return
    throw new Error(
      `only ${arrivals.count - before} of ${events} events arrived within ${timeout} ms\n${this.logsEnd()}`,
    )
  }

  /**
   * Milliseconds from the call until everything that has committed by then has arrived and a bridge is ready. Over
   * `bound` (longer on a busy machine) is a violation of I8; after twice as long, at least 60 s, it rejects.
   */
  async recovers(what: string, bound: number): Promise<number> {
    const begun = performance.now()
    const patience = Math.max(60_000, stretched(bound) * 2)
    const caughtUp = await this.parts.arrivals.untilCaughtUp(patience)
    while (!(await this.#someIsReady())) {
      if (performance.now() - begun > patience) break
      await delay(20)
    }
    const took = performance.now() - begun
    this.notes.recoveries_ms.push(took)
    this.bound('I8', what, took, stretched(bound))
    if (caughtUp && took <= patience) return took
    const { missing } = this.parts.arrivals
    const waits = caughtUp ? 'no bridge is ready' : `${missing.length} events have not arrived: ${some(missing)}`
    throw new Error(`${what}: not recovered within ${patience} ms, ${waits}\n${this.logsEnd()}`)
  }

  /**
   * Milliseconds from the call until an event arrives that committed after it: how long the stream stood still. Rejects
   * after `patience` ms.
   */
  async untilNewEvent(patience = 60_000): Promise<number> {
    const begun = Date.now()
    const { deliveries } = this.consumer
    const isNew = () => (deliveries.at(-1)?.committedAt ?? 0) > begun
    if (await this.parts.arrivals.until(isNew, patience)) return (deliveries.at(-1)?.arrivedAt ?? Date.now()) - begun
    throw new Error(`nothing new arrived within ${patience} ms\n${this.logsEnd()}`)
  }

  /**
   * I5, with all bridges down: everything at or below the stored and the acknowledged position is in the queue or a dead
   * letter. PostgreSQL and RabbitMQ must be there.
   */
  checkHeld(when: string): Promise<void> {
    return checkHeld(this, when)
  }

  /** I9: within `bound` ms a bridge halts with this code and a remedy, and then acknowledges nothing. */
  halts(code: ErrorCode, bound = 30_000, bridge = this.bridge): Promise<void> {
    return checkHalt(this, bridge, code, bound)
  }

  /** `confirmed_flush_lsn` of the slot; undefined where there is no slot. */
  async acknowledged(): Promise<Lsn | undefined> {
    const sql = 'SELECT confirmed_flush_lsn::text AS lsn FROM pg_replication_slots WHERE slot_name = $1'
    const [row] = await this.query(sql, [this.slot])
    return typeof row?.lsn === 'string' ? parseLsn(row.lsn) : undefined
  }

  /** A figure that must not be over its limit. */
  bound(invariant: Invariant, what: string, value: number, limit: number): void {
    this.notes.bounds.push({ invariant, what, value, limit })
  }

  expect(condition: boolean, invariant: Violation['invariant'], what: string): void {
    if (!condition) this.notes.violations.push({ invariant, what, count: 1 })
  }

  /** So many repeats more than interruptions explain. `_why` is for the reader of the row. */
  mayRepeat(events: number, _why: string): void {
    this.notes.explained += events
  }

  /** So many repeats may lie below the stored position: bytes held up in a black hole that arrive after a take-over. */
  mayRunStale(events: number): void {
    this.notes.stale += events
  }

  /** Call it before somebody else than the bridge moves the slot. */
  slotIsMoved(): void {
    this.notes.slotMovedAt = Math.min(this.notes.slotMovedAt, Date.now())
  }

  /**
   * Call it when the load is at rest, all has arrived, and the database is about to become an older copy of itself: LSNs
   * are used again, so commit order is asked for on either side of this moment.
   */
  async turnsBack(): Promise<void> {
    await this.parts.witness?.read()
    this.notes.turns.push(Date.now())
  }

  query(sql: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
    return this.parts.database.query(sql, values)
  }

  withChannel<T>(work: (channel: Channel) => Promise<T>): Promise<T> {
    return withChannel(this.rabbit, work)
  }

  /** Stops the load, waits for the rest, drains, stops the bridges, and checks everything. All must be healed by then. */
  finish(options: FinishOptions = {}): Promise<Figures> {
    return finishScene(this, options)
  }

  /** The end of each log, for messages. */
  logsEnd(): string {
    return this.bridges.map(({ name, log }) => `${name}:\n${log.slice(-2000)}`).join('\n')
  }

  async #someIsReady(): Promise<boolean> {
    for (const bridge of this.bridges) {
      const status = await bridge.status()
      if (status?.state === 'streaming' && (await bridge.ready())) return true
    }
    return false
  }
}
