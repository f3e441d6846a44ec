import { formatLsn, parseLsn } from '../../src/base/lsn.ts'
import { comparePositions } from '../../src/checkpoint/positions.ts'
import type { TimelineSwitch } from '../../src/checkpoint/timeline-history.ts'
import type { StartPosition } from '../../src/source/source.ts'
import type { OutboxEvent, Transaction } from './outbox-event.ts'
import type { World } from './world.ts'

/** A connection as the server sees it. */
export interface ServerConnection {
  /** The server is gone, or threw the client out. */
  cut(): void
}

/** What streams from the slot. */
export interface SlotHolder extends ServerConnection {
  /** There is more WAL. */
  wake(): void
}

export interface Row {
  position: StartPosition
  epoch: bigint
  version: bigint
  timeline: number
}

const commit_bytes = 48n
const insert_bytes = 64n
const store_bytes = 120n
export const startOfWal = 0x1000000n

/**
 * A primary with WAL, one slot, the checkpoint row and the table of dead letters. Whatever changes the database is
 * written in the WAL, so that a failover to a stand-by that lags can take it back.
 */
export class FakePostgres {
  running = true
  walEnd = startOfWal
  timeline = 1
  readonly timelines: TimelineSwitch[] = []
  starts = 1
  /** `confirmed` is lost in a crash unless it is `saved`. */
  readonly slot = { exists: true, confirmed: startOfWal, saved: startOfWal }
  holder: SlotHolder | undefined
  row: Row = { position: { lsn: startOfWal, partial: null }, epoch: 1n, version: 1n, timeline: 1 }
  /** Who claimed the row last, and when. */
  lastClaim: { readonly by: string; readonly at: number } | undefined
  /** Event id → whether it only waits behind another. */
  readonly deadLetters = new Map<string, boolean>()
  readonly parked = new Set<string>()
  keepFails = false
  /** Somebody may move the slot while nobody streams from it. */
  isMeddledWith = false
  /** Whether it ever was: a bridge that halted for it stays halted until somebody restarts it. */
  wasUnsafe = false
  readonly connections = new Set<ServerConnection>()
  /** Called with what an owner has stored or found stored. */
  onOwned: (by: string, position: StartPosition, isClaim: boolean) => void = () => {}
  readonly #world: () => World
  readonly #owners = new Map<bigint, string>()
  /** What each change of the database was, to take it back. */
  readonly #journal: { readonly lsn: bigint; readonly undo: () => void }[] = []
  /** What a stand-by knows of the slot, and up to where it must have WAL for it. */
  #synced: { confirmed: bigint; at: bigint }[] = [{ confirmed: startOfWal, at: startOfWal }]
  #xid = 700

  constructor(world: () => World) {
    this.#world = world
  }

  /** Moves the WAL end; returns where the record begins. */
  write(bytes: bigint): bigint {
    const lsn = this.walEnd
    this.walEnd += bytes
    if (this.holder !== undefined) this.holder.wake()
    return lsn
  }

  insert(): void {
    this.write(insert_bytes)
  }

  commit(events: readonly OutboxEvent[]): void {
    const commitLsn = this.walEnd
    const endLsn = commitLsn + commit_bytes
    events.forEach((event, ordinal) => {
      event.commitLsn = commitLsn
      event.endLsn = endLsn
      event.ordinal = ordinal
    })
    const transaction: Transaction = { xid: this.#xid++, commitLsn, endLsn, events }
    this.#world().truth.commit(transaction)
    this.write(commit_bytes)
  }

  /** The slot is told that all below `flush` is safe; whatever it is, if it is forward. */
  acknowledge(flush: bigint): void {
    // A low value is ignored, as is 0/0, which says no position.
    if (flush <= this.slot.confirmed) return
    const { truth } = this.#world()
    if (flush > this.row.position.lsn)
      truth.breach('I6', `acknowledged ${formatLsn(flush)} above stored ${formatLsn(this.row.position.lsn)}`)
    truth.checkCovered({ lsn: flush, partial: null }, 'acknowledged')
    this.slot.confirmed = flush
  }

  /** Writes the slot to disk, and lets the stand-by take it over. */
  saveSlot(): void {
    this.slot.saved = this.slot.confirmed
    this.#synced.push({ confirmed: this.slot.confirmed, at: this.walEnd })
  }

  /** Everything in memory is lost, all connections with it. */
  crash(): void {
    this.running = false
    this.slot.confirmed = this.slot.saved
    this.#cutAll()
  }

  start(): void {
    this.running = true
    this.starts++
    this.write(176n)
  }

  /** A stand-by that has WAL up to `lsn` takes over; it has the slot as it was synchronised last, or has none. */
  failOver(lsn: bigint, hasSlot: boolean): void {
    this.#cutAll()
    const { truth } = this.#world()
    truth.undoAbove(lsn)
    while ((this.#journal.at(-1)?.lsn ?? 0n) > lsn) this.#journal.pop()!.undo()
    this.timelines.push({ timeline: this.timeline, switchLsn: lsn })
    this.timeline++
    this.walEnd = lsn
    this.starts++
    this.running = true
    this.#synced = this.#synced.filter(({ at }) => at <= lsn)
    const copy = this.#synced.at(-1)
    this.slot.exists = hasSlot && copy !== undefined
    this.slot.confirmed = this.slot.saved = copy?.confirmed ?? 0n
    this.noteDanger()
    this.write(106n)
  }

  /** Somebody calls pg_replication_slot_advance(). */
  moveSlot(): void {
    if (!this.running || this.holder !== undefined || !this.slot.exists) return
    this.slot.confirmed = this.slot.saved = this.walEnd
    this.noteDanger()
  }

  /** To be called after the slot was changed from outside. */
  noteDanger(): void {
    this.wasUnsafe ||= this.isUnsafe
  }

  /** Whether going on would skip something, so that the bridge must halt. */
  get isUnsafe(): boolean {
    return !this.slot.exists || this.slot.confirmed > this.row.position.lsn
  }

  /** Keeps dead letters in one transaction, in order; those that wait only where their aggregate is parked. */
  keep(items: readonly { event: OutboxEvent; waits: boolean }[]): ('kept' | 'released')[] {
    const { truth, profile } = this.#world()
    const verdicts = items.map(({ event: { id, aggregateId }, waits }) => {
      if (waits && !this.parked.has(aggregateId)) return 'released' as const
      const before = this.deadLetters.get(id)
      if (before === undefined || (before && !waits)) {
        this.deadLetters.set(id, waits)
        this.#note(() => (before === undefined ? this.deadLetters.delete(id) : this.deadLetters.set(id, before)))
      }
      if (profile.scope === 'aggregate' && !this.parked.has(aggregateId)) {
        this.parked.add(aggregateId)
        this.#note(() => this.parked.delete(aggregateId))
      }
      truth.everKept.add(id)
      truth.figures.deadLetters++
      return 'kept' as const
    })
    this.write(store_bytes)
    return verdicts
  }

  /** An operator discards all dead letters of an aggregate: nothing waits behind them any more. */
  discard(aggregateId: string): void {
    const { truth } = this.#world()
    for (const [id, waits] of [...this.deadLetters]) {
      if (truth.events.get(id)?.aggregateId !== aggregateId) continue
      this.deadLetters.delete(id)
      truth.everDiscarded.add(id)
      this.#note(() => this.deadLetters.set(id, waits))
    }
    if (this.parked.delete(aggregateId)) this.#note(() => this.parked.add(aggregateId))
    this.write(store_bytes)
  }

  /** The statements of CheckpointStore, with their conditions. */
  answer(name: string, values: readonly string[]): Record<string, unknown>[] {
    switch (name) {
      case 'wal2rabbit_load':
        return [this.#rowValues()]
      case 'wal2rabbit_server_facts':
        return [this.#facts()]
      case 'wal2rabbit_rewind':
        return []
      case 'wal2rabbit_claim':
        return this.#claim(values)
      case 'wal2rabbit_store':
        return this.#store(values)
      case 'wal2rabbit_owner':
        return values[1] === String(this.row.epoch) ? [{}] : []
      case 'wal2rabbit_snapshot':
        return [{ snapshot: '1:1:' }]
      case 'wal2rabbit_record_history':
        this.write(store_bytes)
        return []
      case 'wal2rabbit_prune_history':
      case 'wal2rabbit_unstreamed':
        return []
      default:
        throw new Error(`the fake PostgreSQL does not know the statement ${name}`)
    }
  }

  #claim([, version, owner = '', timeline, keepPartial]: readonly string[]): Record<string, unknown>[] {
    const { row } = this
    if (version !== String(row.version)) return []
    const partial = keepPartial === 'true' ? row.position.partial : null
    const position = { lsn: row.position.lsn, partial }
    this.#change({ position, epoch: row.epoch + 1n, version: row.version + 1n, timeline: Number(timeline) })
    this.#owners.set(this.row.epoch, owner)
    this.lastClaim = { by: owner, at: this.#world().time.now }
    this.onOwned(owner, position, true)
    return [this.#rowValues()]
  }

  #store([, epoch, version, lsn, commitLsn, rows]: readonly string[]): Record<string, unknown>[] {
    const { row } = this
    if (epoch !== String(row.epoch) || version !== String(row.version)) return []
    const partial = commitLsn === 'null' ? null : { commitLsn: parseLsn(commitLsn!), rows: Number(rows) }
    const position = { lsn: parseLsn(lsn!), partial }
    if (comparePositions(position, row.position) < 0) return []
    const { truth } = this.#world()
    truth.checkCovered(position, 'stored')
    truth.figures.stores++
    this.#change({ ...row, position, version: row.version + 1n })
    this.onOwned(this.#owners.get(row.epoch) ?? '', position, false)
    return [{ version: this.row.version, wal_end: formatLsn(this.walEnd) }]
  }

  #change(next: Row): void {
    const before = this.row
    if (comparePositions(next.position, before.position) < 0 && next.position.lsn < before.position.lsn)
      this.#world().truth.breach('I7', `stored moved back to ${formatLsn(next.position.lsn)}`)
    this.row = next
    this.#note(() => {
      this.row = before
    })
    this.write(store_bytes)
  }

  /** `undo` belongs to what is written next. */
  #note(undo: () => void): void {
    this.#journal.push({ lsn: this.walEnd + store_bytes, undo })
  }

  #cutAll(): void {
    this.holder = undefined
    for (const connection of this.connections) connection.cut()
    this.connections.clear()
  }

  #rowValues(): Record<string, unknown> {
    const { position, timeline, epoch, version } = this.row
    const { lsn, partial } = position
    return {
      slot: 'shop',
      lsn: formatLsn(lsn),
      partial_commit_lsn: partial === null ? null : formatLsn(partial.commitLsn),
      partial_rows: partial === null ? null : String(partial.rows),
      system_identifier: '7000',
      timeline: String(timeline),
      epoch: String(epoch),
      owner: this.#owners.get(epoch) ?? '',
      version: String(version),
      events: '0',
      stored_at: '2026-01-31T23:59:59.123456Z',
      wal_end: formatLsn(this.walEnd),
    }
  }

  #facts(): Record<string, unknown> {
    return {
      system_identifier: '7000',
      timeline: String(this.timeline),
      wal_end: formatLsn(this.walEnd),
      in_recovery: false,
      version: '150020',
      database: 'shop',
      postmaster_start_time: String(this.starts),
    }
  }
}
