import { setTimeout as delay } from 'node:timers/promises'
import { parseLsn } from '../../../src/base/lsn.ts'
import type { PositionSample } from '../checkers/history.ts'
import { checkSecrets } from '../checkers/secrets.ts'
import type { Violation } from '../checkers/violation.ts'
import type { RigBridge } from './bridge.ts'
import type { Query } from './witness.ts'

const interval_ms = 100
const pages = ['/api/status', '/readyz', '/metrics']

/** Looks at positions, memory and pages all the time that a scene lasts. */
export class Monitor {
  readonly samples: PositionSample[] = []
  readonly leaks: Violation[] = []
  readonly #query: Query
  readonly #slot: string
  readonly #bridges: readonly RigBridge[]
  readonly #secrets: readonly string[]
  readonly #watchesPositions: boolean
  readonly #abort = new AbortController()
  #running: Promise<unknown> | undefined

  constructor(parts: {
    readonly query: Query
    readonly slot: string
    readonly bridges: readonly RigBridge[]
    readonly secrets: readonly string[]
    readonly watchesPositions: boolean
  }) {
    this.#query = parts.query
    this.#slot = parts.slot
    this.#bridges = parts.bridges
    this.#secrets = parts.secrets
    this.#watchesPositions = parts.watchesPositions
  }

  start(): void {
    this.#running ??= Promise.all([this.#watchPositions(), this.#watchBridges()])
  }

  async stop(): Promise<void> {
    this.#abort.abort()
    await this.#running
  }

  async #watchPositions(): Promise<void> {
    while (this.#watchesPositions && !this.#abort.signal.aborted) {
      await this.#samplePositions().catch(() => undefined) // PostgreSQL is away: that is what happens here
      await delay(interval_ms)
    }
  }

  /** The slot first: the row, read after it, may only be further. */
  async #samplePositions(): Promise<void> {
    const [slot] = await this.#query(
      'SELECT confirmed_flush_lsn::text AS lsn FROM pg_replication_slots WHERE slot_name = $1',
      [this.#slot],
    )
    const [row] = await this.#query('SELECT lsn::text AS lsn FROM wal2rabbit.checkpoint WHERE slot = $1', [this.#slot])
    if (typeof slot?.lsn !== 'string' || typeof row?.lsn !== 'string') return
    this.samples.push({ at: Date.now(), acknowledged: parseLsn(slot.lsn), stored: parseLsn(row.lsn) })
  }

  async #watchBridges(): Promise<void> {
    for (let round = 0; !this.#abort.signal.aborted; round++) {
      for (const bridge of this.#bridges) {
        await bridge.noteMemory()
        const path = pages[round % pages.length] ?? '/readyz'
        const page = await bridge.page(path)
        if (page !== undefined) {
          this.leaks.push(...checkSecrets([{ where: `${bridge.name} ${path}`, text: page.text }], this.#secrets))
        }
      }
      await delay(interval_ms * 5)
    }
  }
}
