import { BridgeError } from '../../src/base/errors.ts'
import { formatLsn } from '../../src/base/lsn.ts'
import { columnPresets } from '../../src/routing/column-map.ts'
import { createRouting } from '../../src/routing/message.ts'
import type { Routing } from '../../src/routing/routing.ts'
import { ConfirmWindow, type SettledPosition } from '../../src/sink/confirm-window.ts'
import { EventAssembler } from '../../src/source/event-assembler.ts'
import type { SourceEvent } from '../../src/source/source.ts'
import type { WalDecoder } from '../../src/source/wal-decoder.ts'
import type { SeededRandom } from '../support/seeded-random.ts'
import { mustHold } from './fuzz-target.ts'

/** What may be refused in a stream, and as what. Any other error is a mistake. */
const streamCodes: readonly string[] = ['SOURCE_PROTOCOL', 'ASSERTION_FAILED', 'COLUMN_MISSING', 'COLUMN_TYPE']

/** What a message says of the position, read apart from the decoder. `row` may be one of another table. */
export type Said = Place | { readonly kind: 'row' | 'other' }

interface Place {
  readonly kind: 'begin' | 'commit' | 'idle'
  readonly lsn: bigint
}

/** Decoder, assembler, routing and window, put together as the bridge does; the broker confirms at random. */
export class StreamSession {
  readonly window: ConfirmWindow
  readonly eventIds: (string | null)[] = []
  readonly #assembler: EventAssembler
  readonly #decoder: WalDecoder
  readonly #routing: Routing
  readonly #random: SeededRandom
  /** Nothing that was accepted allows a position above it. */
  #allowed: bigint
  readonly #start: SettledPosition
  #open: bigint | undefined
  #rowsSaid = 0

  constructor(decoder: WalDecoder, random: SeededRandom, window = emptyWindow()) {
    this.window = window
    this.#decoder = decoder
    this.#random = random
    this.#start = window.received
    const { lsn, partial } = this.#start
    this.#allowed = lsn
    this.#assembler = new EventAssembler(
      { lsn, partial },
      { rows: 0, transactions: 0, bytes: 0, ignored: 0, keepalives: 0 },
    )
    this.#routing = createRouting({
      columns: columnPresets.default,
      exchange: 'outbox',
      routingKey: '{aggregate_type}.{type}',
      routes: [],
      unroutable: 'dead-letter',
      maxMessageSize: 4096,
    })
  }

  /** Gives one payload; the code when it was refused, undefined when it was accepted. Throws when a position is wrong. */
  feed(payload: Buffer, said: Said): string | undefined {
    return this.#give(() => this.#decoder.decode(payload, this.#assembler), said)
  }

  keepalive(walEnd: bigint): string | undefined {
    return this.#give(() => this.#assembler.keepalive(walEnd), { kind: 'idle', lsn: walEnd })
  }

  /** Sends all again and confirms all. */
  settleAll(): void {
    this.window.channelLost()
    for (let row = this.window.nextUnsent(); row !== undefined; row = this.window.nextUnsent()) {
      this.window.sent(row, 0)
      this.window.settle(row)
    }
    this.window.channelLost()
  }

  #give(handle: () => void, said: Said): string | undefined {
    const before = this.#positions()
    const code = this.#handled(handle)
    if (code === undefined) this.#believe(said)
    else {
      const after = this.#positions()
      mustHold(before === after, () => `refused with ${code}, and yet the positions went from ${before} to ${after}`)
    }
    this.#confirmSome()
    this.#checkPositions()
    return code
  }

  /** The code that the bridge gives to what is thrown: see ReplicationStream and Bridge. */
  #handled(handle: () => void): string | undefined {
    try {
      handle()
      for (const event of this.#assembler.take()) this.#push(event)
      return undefined
    } catch (error) {
      if (error instanceof RangeError && !(error instanceof BridgeError)) return 'SOURCE_PROTOCOL'
      if (error instanceof BridgeError && streamCodes.includes(error.code)) return error.code
      throw new Error(`expected one of ${streamCodes.join(', ')}`, { cause: error })
    }
  }

  #push(event: SourceEvent): void {
    if (event.kind === 'commit') this.window.pushCommit(event.commitLsn, event.endLsn)
    else if (event.kind === 'idle') this.window.pushIdle(event.walEnd)
    else {
      const routed = this.#routing.route(event)
      mustHold(
        routed.refusal === undefined || /^EVENT_(INVALID|TOO_LARGE)$/.test(routed.refusal.code),
        () => `a bad row became ${routed.refusal?.code}`,
      )
      this.window.pushRow(routed)
      this.eventIds.push(routed.eventId)
    }
  }

  #believe(said: Said): void {
    switch (said.kind) {
      case 'begin':
        this.#open = said.lsn
        this.#rowsSaid = 0
        return
      case 'row':
        this.#rowsSaid++
        return
      case 'commit':
      case 'idle':
        if (said.kind === 'commit') this.#open = undefined
        if (this.#open === undefined && said.lsn > this.#allowed) this.#allowed = said.lsn
    }
  }

  #confirmSome(): void {
    const row = this.window.nextUnsent()
    if (row !== undefined && this.#random.chance(0.7)) {
      this.window.sent(row, 0)
      if (this.#random.chance(0.9)) this.window.settle(row)
    }
  }

  #checkPositions(): void {
    const { settled, received } = this.window
    mustHold(notAbove(settled, received), () => `settled ${show(settled)} is above received ${show(received)}`)
    const text = () => `received ${show(received)}, allowed ${formatLsn(this.#allowed)}, ${this.#rowsSaid} rows`
    mustHold(received.lsn <= this.#allowed && this.#assembler.received <= this.#allowed, text)
    if (received.partial !== null && this.#open !== undefined) {
      // A session may begin inside of a transaction: what was received of it before comes again.
      const before = this.#start.partial?.commitLsn === received.partial.commitLsn ? this.#start.partial.rows : 0
      const { commitLsn, rows } = received.partial
      const fits = rows <= before || (commitLsn === this.#open && rows <= this.#rowsSaid)
      mustHold(fits, text)
    }
  }

  #positions(): string {
    const { window } = this
    const { settled, received, receivedLsn } = window
    return `${show(settled)} ${show(received)} ${receivedLsn} ${this.#assembler.received} ${window.settledRows}`
  }
}

/** All that a stream has given can be held: back-pressure is not what is looked at here. */
export function emptyWindow(): ConfirmWindow {
  return new ConfirmWindow({ messages: 1000, bytes: 64 * 1024 * 1024 })
}

export function notAbove(a: SettledPosition, b: SettledPosition): boolean {
  if (a.lsn !== b.lsn) return a.lsn < b.lsn
  if (a.partial === null) return true
  if (b.partial === null) return false
  const { commitLsn, rows } = a.partial
  return commitLsn === b.partial.commitLsn ? rows <= b.partial.rows : commitLsn < b.partial.commitLsn
}

function show({ lsn, partial }: SettledPosition): string {
  return partial === null ? formatLsn(lsn) : `${formatLsn(lsn)}+${formatLsn(partial.commitLsn)}#${partial.rows}`
}
