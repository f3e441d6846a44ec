import { BridgeError, type ErrorCode } from '../../src/base/errors.ts'
import type { SlotHolder } from './fake-postgres.ts'
import { beginBytes, commitBytes, noiseBytes, relationBytes } from './pgoutput-bytes.ts'
import { Pipe } from './pipe.ts'
import type { Owner } from './virtual-time.ts'
import { type World, walSenderTimeout } from './world.ts'

export type StreamMessage = { readonly payload: Buffer } | { readonly walEnd: bigint; readonly replyRequested: boolean }

export interface StreamClient {
  onChunk(messages: readonly StreamMessage[]): void
  onEnd(error: BridgeError): void
}

/** Chunks on their way or unread: TCP takes no more. */
const unreadChunks_max = 2

/**
 * A replication connection with the walsender behind it. Like PostgreSQL it starts no lower than confirmed_flush without
 * a word, sends what commits at or above the start and nothing below, believes every acknowledgement, and gives up on a
 * client that says nothing for wal_sender_timeout.
 */
export class Walsender implements SlotHolder {
  readonly toServer: Pipe
  readonly toClient: Pipe
  readonly #world: World
  readonly #client: StreamClient
  #open = false
  #clientOver = false
  #startLsn = 0n
  #next = 0
  #pending: StreamMessage[] = []
  #relationsSent = false
  #unread = 0
  #sentLsn = 0n
  #lastHeard = 0

  constructor(world: World, owner: Owner, client: StreamClient) {
    this.#world = world
    this.#client = client
    this.toServer = new Pipe(world, undefined)
    this.toClient = new Pipe(world, owner)
  }

  /** START_REPLICATION. Resolves once it streams. */
  open(startLsn: bigint): Promise<void> {
    return new Promise((resolve, reject) => {
      const refuse = (code: ErrorCode, text: string) =>
        this.toClient.send(() => reject(new BridgeError(code, `simulated: ${text}`)))
      this.toServer.send(() => {
        const { postgres, random } = this.#world
        if (!postgres.running) return refuse('SOURCE_UNREACHABLE', 'PostgreSQL is down')
        if (!postgres.slot.exists) return refuse('SLOT_MISSING', 'no slot')
        if (postgres.holder !== undefined) return refuse('SLOT_ACTIVE', 'the slot is active')
        // After the bridge looked at it, and before it streams: it would begin there without a word.
        if (postgres.isMeddledWith && random.chance(0.2)) postgres.moveSlot()
        const { confirmed } = postgres.slot
        this.toClient.send(() => resolve())
        this.#begin(startLsn > confirmed ? startLsn : confirmed)
      })
    })
  }

  /** The client has read a chunk. */
  consumed(): void {
    this.toServer.send(() => {
      this.#unread--
      this.wake()
    })
  }

  sendStatus(flush: bigint): void {
    this.toServer.send(() => {
      if (!this.#open) return
      this.#lastHeard = this.#world.time.now
      this.#world.postgres.acknowledge(flush)
    })
  }

  /** The client closes, or is dead and its kernel does. The old walsender takes a moment to notice. */
  close(): void {
    this.#clientOver = true
    const { time, random } = this.#world
    this.toServer.send(() => time.post(random.between(0, 40), undefined, () => this.#release()))
  }

  /** Nothing passes any more, either way; each end has a timeout for that. */
  blackhole(): void {
    this.toServer.blackholed = this.toClient.blackholed = true
  }

  cut(): void {
    if (!this.#open) return
    this.#release()
    this.toClient.send(() => {
      if (this.#clientOver) return
      this.#clientOver = true
      this.#client.onEnd(new BridgeError('SOURCE_CONNECTION_LOST', 'simulated: connection cut'))
    })
  }

  wake(): void {
    if (!this.#open || this.#unread >= unreadChunks_max) return
    this.#fill()
    if (this.#pending.length === 0) return
    const { random } = this.#world
    this.#unread++
    const chunk = this.#pending.splice(0, random.between(1, 8))
    this.toClient.send(() => {
      if (!this.#clientOver) this.#client.onChunk(chunk)
    })
    this.wake()
  }

  #begin(startLsn: bigint): void {
    const { postgres, time, truth } = this.#world
    this.#open = true
    this.#startLsn = startLsn
    this.#sentLsn = startLsn
    this.#lastHeard = time.now
    postgres.holder = this
    postgres.connections.add(this)
    const first = truth.committed.findIndex(({ commitLsn }) => commitLsn >= startLsn)
    this.#next = first < 0 ? truth.committed.length : first
    this.#watch()
    this.wake()
  }

  #release(): void {
    if (!this.#open) return
    this.#open = false
    const { postgres } = this.#world
    postgres.connections.delete(this)
    if (postgres.holder === this) postgres.holder = undefined
  }

  /** Decodes the next transaction, once all before it is on its way. */
  #fill(): void {
    const { truth, random, profile } = this.#world
    while (this.#pending.length === 0) {
      const transaction = truth.committed[this.#next]
      if (transaction === undefined) return
      this.#next++
      const { xid, commitLsn, endLsn, events } = transaction
      this.#sentLsn = commitLsn
      // It may have been told to start in the future: what commits below is skipped then.
      if (commitLsn < this.#startLsn || (events.length === 0 && !profile.sendsEmpty)) continue
      const messages: Buffer[] = [beginBytes(commitLsn, xid)]
      if (!this.#relationsSent) messages.push(...relationBytes)
      this.#relationsSent = true
      for (const event of events) {
        if (random.chance(0.1)) messages.push(noiseBytes[random.between(0, noiseBytes.length - 1)]!)
        messages.push(event.insert)
      }
      this.#pending = [...messages, commitBytes(commitLsn, endLsn)].map((payload) => ({ payload }))
      // A keep-alive may come inside of a transaction; it speaks of what was before.
      if (random.chance(0.2))
        this.#pending.splice(random.between(0, messages.length), 0, { walEnd: commitLsn, replyRequested: false })
    }
  }

  /** Keep-alives, and the end of patience. */
  #watch(): void {
    const { time, random, postgres } = this.#world
    time.post(random.between(200, 1000), undefined, () => {
      if (!this.#open) return
      const silence = time.now - this.#lastHeard
      if (silence > walSenderTimeout) return this.cut()
      this.wake()
      // Nothing pending and room for more: all that has committed is on its way.
      if (this.#unread < unreadChunks_max && this.#pending.length === 0) {
        this.#sentLsn = postgres.walEnd
        this.#unread++
        const keepalive = { walEnd: this.#sentLsn, replyRequested: silence > walSenderTimeout / 2 }
        this.toClient.send(() => {
          if (!this.#clientOver) this.#client.onChunk([keepalive])
        })
      }
      this.#watch()
    })
  }
}
