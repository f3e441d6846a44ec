import { BridgeError } from '../../src/base/errors.ts'
import { formatLsn, type Lsn, parseLsn } from '../../src/base/lsn.ts'
import type { PostgresClient } from '../../src/base/postgres-client.ts'
import { CheckpointMemory, PostgresCheckpoint } from '../../src/checkpoint/postgres-checkpoint.ts'
import type { StartPosition } from '../../src/source/source.ts'

/** The checkpoint row of one slot, the slot and the server, with the conditions of the real statements. */
export class ScriptedDatabase {
  position: StartPosition = { lsn: 0x1000n, partial: null }
  epoch = 1n
  version = 10n
  /** Of the row, and of the server. */
  timelines = { row: 1, server: 1 }
  /** Where the server left timeline 1. */
  switchLsn: Lsn = 0x8000n
  closed = 0
  walEnd: Lsn = 0x9000n
  confirmedFlush: Lsn = 0x1000n
  active = false
  /** An unfinished rewind. */
  rewind = false
  slotExists = true
  startedAt = '2026-01-01T00:00:00.000000Z'
  /** Called before each statement and each look at the slot, by name. */
  before: (what: string) => void = () => {}
  /** Called with what a store would do, instead of doing it. */
  onStore: ((apply: () => void) => void) | undefined

  readonly client: PostgresClient & { close(): Promise<void> } = {
    query: async ({ name = '', values = [] }) => {
      this.before(name)
      const rows = this.#answer(name, values.map(String))
      return { rows, rowCount: rows.length }
    },
    close: async () => {
      this.closed++
    },
  }

  /** What another owner does: claims and stores. */
  storedByAnother(lsn: Lsn): void {
    this.epoch++
    this.version += 2n
    this.position = { lsn, partial: null }
  }

  async slot() {
    this.before('slot')
    if (!this.slotExists) return undefined
    const { confirmedFlush, active } = this
    const facts = { name: 'shop', plugin: 'pgoutput', database: 'shopdb', invalidation: undefined }
    return { ...facts, confirmedFlush, active, activePid: active ? 4711 : null }
  }

  #answer(name: string, values: string[]): Record<string, unknown>[] {
    switch (name) {
      case 'wal2rabbit_load':
        return [this.#row()]
      case 'wal2rabbit_rewind':
        return this.rewind ? [rewindRow] : []
      case 'wal2rabbit_server_facts':
        return [this.#facts()]
      case 'wal2rabbit_claim':
        if (values[1] !== String(this.version)) return []
        this.epoch++
        this.version++
        this.timelines.row = Number(values[3])
        if (values[4] === 'false') this.position = { ...this.position, partial: null }
        return [this.#row()]
      case 'wal2rabbit_store':
        return this.#store(values)
      case 'wal2rabbit_owner':
        return values[1] === String(this.epoch) ? [{}] : []
      case 'wal2rabbit_snapshot':
        return [{ snapshot: '1:1:' }]
      default:
        return []
    }
  }

  #store([, epoch, version, lsn, commitLsn, rows]: string[]): Record<string, unknown>[] {
    const apply = () => {
      if (epoch !== String(this.epoch) || version !== String(this.version)) return []
      this.version++
      const partial = commitLsn === 'null' ? null : { commitLsn: parseLsn(commitLsn!), rows: Number(rows) }
      this.position = { lsn: parseLsn(lsn!), partial }
      return [{ version: this.version, wal_end: formatLsn(this.walEnd) }]
    }
    if (this.onStore === undefined) return apply()
    this.onStore(apply)
    throw new BridgeError('SOURCE_CONNECTION_LOST', 'scripted: no answer')
  }

  #row(): Record<string, unknown> {
    const { lsn, partial } = this.position
    return {
      slot: 'shop',
      lsn: formatLsn(lsn),
      partial_commit_lsn: partial === null ? null : formatLsn(partial.commitLsn),
      partial_rows: partial === null ? null : String(partial.rows),
      system_identifier: '7000',
      timeline: String(this.timelines.row),
      epoch: String(this.epoch),
      owner: 'host/1',
      version: String(this.version),
      events: '0',
      stored_at: '2026-01-31T23:59:59.123456Z',
      wal_end: formatLsn(this.walEnd),
    }
  }

  #facts(): Record<string, unknown> {
    return {
      system_identifier: '7000',
      timeline: String(this.timelines.server),
      wal_end: formatLsn(this.walEnd),
      in_recovery: false,
      version: '150020',
      database: 'shopdb',
      postmaster_start_time: this.startedAt,
    }
  }
}

const rewindRow = {
  slot: 'shop',
  target_lsn: '0/800',
  target_commit_lsn: null,
  target_rows: null,
  from_lsn: '0/1000',
  from_commit_lsn: null,
  from_rows: null,
  base_slot: 'shop_anchor_20260131235959',
  failover: false,
  started_by: 'ann@shop1',
  started_at: '2026-01-31T23:59:59.123456Z',
}

/** The checkpoint of one session; sessions of one process share the memory. */
export function sessionOn(
  database: ScriptedDatabase,
  memory = new CheckpointMemory(),
  verifyTable = async () => 'publication',
): PostgresCheckpoint {
  return new PostgresCheckpoint(
    {
      slot: 'shop',
      plugin: 'pgoutput',
      owner: 'host/1',
      historyRetention: { time: 1000, count: 10 },
      connect: async () => database.client,
      inspectSlot: () => database.slot(),
      verifyTable,
      identifyTable: verifyTable,
      readTimelineHistory: async () => [{ timeline: 1, switchLsn: database.switchLsn }],
      toError: (error) => (error instanceof BridgeError ? error : new BridgeError('UNKNOWN', String(error))),
    },
    memory,
  )
}
