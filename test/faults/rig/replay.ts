import { setTimeout as delay } from 'node:timers/promises'
import type { ErrorCode } from '../../../src/base/errors.ts'
import { type Lsn, parseLsn } from '../../../src/base/lsn.ts'
import type { StoredPosition } from '../checkers/history.ts'
import type { ReplayedRun } from '../checkers/replayed.ts'
import { type DrainedQueue, drain } from './queues.ts'
import { type ProcessEnd, ReplayProcess } from './replay-process.ts'
import type { Scene } from './scene.ts'
import { stretched } from './stretch.ts'

export interface ReplayParts {
  readonly scene: Scene
  /** Where it publishes to. */
  readonly queue: DrainedQueue
  /** `--from` and so on. */
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
  /** Ids of the others. */
  readonly others: () => readonly string[]
}

/** The row of `wal2rabbit.replay`. */
export interface RecordedReplay {
  readonly id: string
  readonly state: string
  readonly from: Lsn
  readonly to: Lsn
  readonly stored: StoredPosition
  readonly published: number
}

interface Run {
  /** Undefined for the first one: it begins at the start of the range. */
  readonly start: StoredPosition | undefined
  /** How many deliveries its queue had given before. */
  readonly before: number
  interruptions: number
}

/** A replay and the processes that run it, one after the other. */
export class RigReplay {
  readonly #parts: ReplayParts
  readonly #runs: Run[] = []
  #process: ReplayProcess | undefined
  #id: string | undefined
  #from: Lsn | undefined
  #output = ''
  #gaveUp = false

  constructor(parts: ReplayParts) {
    this.#parts = parts
  }

  /** Undefined until it was recorded, as seen by record(). */
  get id(): string | undefined {
    return this.#id
  }

  /** What its processes wrote. */
  get output(): string {
    return this.#output + (this.#process?.output ?? '')
  }

  /** Whether it was seen to give up. */
  get gaveUp(): boolean {
    return this.#gaveUp
  }

  get isRunning(): boolean {
    return this.#process?.isRunning === true
  }

  /** What this run published so far. */
  get arrived(): number {
    return this.#parts.queue.consumer.deliveries.length - (this.#runs.at(-1)?.before ?? 0)
  }

  /** Begins it, or goes on with it once it is recorded. What the process before published has arrived by then. */
  async start({ failPoint }: { readonly failPoint?: string } = {}): Promise<void> {
    if (this.isRunning) throw new Error('the replay runs already')
    this.#output = this.output
    await this.drained()
    const record = await this.record()
    const args = record === undefined ? this.#parts.args : ['--resume', record.id]
    const before = this.#parts.queue.consumer.deliveries.length
    this.#runs.push({ start: record?.stored, before, interruptions: 0 })
    this.#process = new ReplayProcess(args, this.#parts.env, failPoint)
  }

  /** A second process for it, while the first one runs or not. Gives how it ended. */
  async startBeside(): Promise<ProcessEnd> {
    const record = await this.record()
    if (record === undefined) throw new Error('the replay is not recorded yet')
    return new ReplayProcess(['--resume', record.id], this.#parts.env, undefined).ended
  }

  /** Two processes at once; resolves with how both ended. */
  async startTwice(): Promise<ProcessEnd[]> {
    await this.start()
    return Promise.all([this.#process!.ended, this.startBeside()])
  }

  /** SIGKILL. Resolves when PostgreSQL has noticed: no session and no slot of it is left. */
  async kill(): Promise<void> {
    await this.#process?.kill()
    await this.gone()
  }

  /** Whether it died at its fail-point; false when it came to its end before. */
  async died(): Promise<boolean> {
    const end = await this.#process!.ended
    if (end.code === null) await this.gone()
    else await this.#isDone(end)
    return end.code === null
  }

  /** Resolves when so many events of this run arrived, or it has ended. */
  async until(events: number, timeout = 60_000): Promise<void> {
    const deadline = Date.now() + timeout
    while (this.isRunning && this.arrived < events) {
      if (Date.now() > deadline) {
        throw new Error(`only ${this.arrived} of ${events} events of a replay within ${timeout} ms\n${this.output}`)
      }
      await delay(10)
    }
  }

  /** A connection to the broker is about to break under it. */
  interrupted(): void {
    this.#runs.at(-1)!.interruptions++
  }

  /** Resolves when it has come to its end, all by itself, with 0. */
  async done(bound: number): Promise<void> {
    await this.#isDone(await this.#end(bound))
  }

  /** Resolves when it has ended by itself with this code, for this reason: it is not going to be done. */
  async givesUp(code: number, reason: ErrorCode, bound: number): Promise<void> {
    this.#gaveUp = true
    const end = await this.#end(bound)
    const right = end.code === code && end.output.includes(reason)
    const what = `a replay ended with ${end.code}, expected ${code} for ${reason}\n${end.output.slice(-1500)}`
    this.#parts.scene.expect(right, 'G9', what)
    await this.record()
  }

  /** Resolves when nothing of it is left on the server. A violation after some seconds. */
  async gone(): Promise<void> {
    const { scene } = this.#parts
    const deadline = Date.now() + 10_000
    for (;;) {
      const left = await scene.query(
        `SELECT slot_name AS name FROM pg_replication_slots WHERE slot_name LIKE '%\\_replay\\_%' AND database = current_database()
         UNION ALL SELECT application_name FROM pg_stat_activity
         WHERE datname = current_database() AND application_name LIKE 'wal2rabbit replay%'`,
      )
      if (left.length === 0) return
      if (Date.now() > deadline) {
        scene.expect(false, 'I10', `left of a replay that is gone: ${left.map(({ name }) => name).join(', ')}`)
        return
      }
      await delay(20)
    }
  }

  /** All that it published has arrived. */
  async drained(): Promise<void> {
    await drain(this.#parts.scene.rabbit, this.#parts.queue)
  }

  /** What PostgreSQL has of it; undefined before it is recorded. */
  async record(): Promise<RecordedReplay | undefined> {
    const { scene, others } = this.#parts
    const [row] = await scene.query(
      `SELECT id, state, from_lsn::text, to_lsn::text, lsn::text, partial_commit_lsn::text, partial_rows::text,
         events_published::text
       FROM wal2rabbit.replay WHERE slot = $1 AND CASE WHEN $2::text IS NULL THEN id <> ALL ($3) ELSE id = $2 END`,
      [scene.slot, this.#id ?? null, others()],
    )
    if (row === undefined) return undefined
    const text = (name: string) => String(row[name])
    this.#id = text('id')
    this.#from = parseLsn(text('from_lsn'))
    const partial =
      row.partial_commit_lsn === null
        ? null
        : { commitLsn: parseLsn(text('partial_commit_lsn')), rows: Number(row.partial_rows) }
    return {
      id: this.#id,
      state: text('state'),
      from: this.#from,
      to: parseLsn(text('to_lsn')),
      stored: { lsn: parseLsn(text('lsn')), partial },
      published: Number(row.events_published),
    }
  }

  /** How many deliveries its queue had given before it; undefined before it was started. */
  get begins(): number | undefined {
    return this.#runs[0]?.before
  }

  /** All of them, once it is recorded; `end` is where deliveries of the next replay begin. */
  runs(end: number): ReplayedRun[] {
    const { deliveries } = this.#parts.queue.consumer
    const ends = [...this.#runs.slice(1).map(({ before }) => before), end]
    return this.#runs.map(({ start, before, interruptions }, n) => ({
      start: start ?? { lsn: this.#from ?? 0n, partial: null },
      deliveries: deliveries.slice(before, ends[n]),
      interruptions,
    }))
  }

  async #end(bound: number): Promise<ProcessEnd> {
    const patience = Math.max(60_000, stretched(bound) * 2)
    const begun = performance.now()
    const end = await Promise.race([this.#process!.ended, delay(patience, undefined, { ref: false })])
    if (end === undefined) throw new Error(`the replay has not ended after ${patience} ms\n${this.output}`)
    this.#parts.scene.bound('I8', 'the replay has ended', performance.now() - begun, stretched(bound))
    return end
  }

  async #isDone({ code, output }: ProcessEnd): Promise<void> {
    this.#parts.scene.expect(code === 0, 'G9', `a replay ended with ${code} instead of 0\n${output.slice(-1500)}`)
    await this.record()
  }
}
