import { BridgeError, toBridgeError } from '../../src/base/errors.ts'
import type { Lsn } from '../../src/base/lsn.ts'
import { Acknowledgement } from '../../src/source/acknowledgement.ts'
import { EventAssembler } from '../../src/source/event-assembler.ts'
import { PgoutputDecoder } from '../../src/source/pgoutput.ts'
import type { Source, SourceCounters, SourceHandlers, StartPosition } from '../../src/source/source.ts'
import { StatusTimer } from '../../src/source/status-timer.ts'
import type { Owner } from './virtual-time.ts'
import { type StreamMessage, Walsender } from './walsender.ts'
import { type World, walSenderTimeout } from './world.ts'

/** PostgresSource over the fake walsender: the same decoder, assembler, acknowledgement and status timer in between. */
export class SimulatedSource implements Source {
  readonly counters: SourceCounters = { rows: 0, transactions: 0, bytes: 0, ignored: 0, keepalives: 0 }
  readonly walSenderTimeout = walSenderTimeout
  readonly connection: Walsender
  readonly #world: World
  readonly #owner: Owner
  readonly #decoder = new PgoutputDecoder({ publication: 'wal2rabbit', table: { schema: 'public', name: 'outbox' } })
  #assembler: EventAssembler | undefined
  #handlers: SourceHandlers | undefined
  #acknowledgement: Acknowledgement | undefined
  #status: StatusTimer | undefined
  #watchdog: NodeJS.Timeout | undefined
  #unread: (readonly StreamMessage[])[] = []
  #paused = false
  #isOpen = false
  #isScheduled = false
  #isStopped = false
  #isOver = false
  #lastRead = 0

  constructor(world: World, owner: Owner) {
    this.#world = world
    this.#owner = owner
    this.connection = new Walsender(world, owner, {
      onChunk: (messages) => this.#onChunk(messages),
      onEnd: (error) => this.#onEnd(error),
    })
  }

  async start(position: StartPosition, handlers: SourceHandlers): Promise<void> {
    this.#assembler = new EventAssembler(position, this.counters)
    this.#handlers = handlers
    const timer = this.#world.time.post(walSenderTimeout, this.#owner, () => this.#giveUp('no answer'))
    await Promise.race([
      this.connection.open(position.lsn),
      new Promise<never>((_, reject) => {
        this.#rejectStart = reject
      }),
    ])
    timer.cancelled = true
    this.#rejectStart = undefined
    if (this.#isStopped || this.#isOver) return
    this.#acknowledgement = new Acknowledgement()
    this.#status = new StatusTimer(walSenderTimeout / 4, () => this.#sendStatus())
    this.#status.start()
    this.#lastRead = performance.now()
    this.#watchdog = setInterval(() => {
      if (this.#paused) this.#lastRead = performance.now()
      else if (performance.now() - this.#lastRead > walSenderTimeout) this.#giveUp('silence')
    }, 1000)
  }
  #rejectStart: ((error: BridgeError) => void) | undefined

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    if (!this.#isOpen) {
      this.#isOpen = true
      this.#schedule()
    }
    // What the socket held comes with the next turn of the event loop.
    if (this.#unread.length > 0) setImmediate(() => this.#readOn())
  }

  acknowledge(stored: Lsn): void {
    if (this.#acknowledgement?.advance(stored, this.#assembler!.received)) this.#status?.acknowledged()
  }

  async stop(): Promise<void> {
    if (this.#isStopped) return
    this.#isStopped = true
    this.#sendStatus()
    this.#rest()
    this.connection.close()
    await new Promise<void>((resolve) => setTimeout(resolve, 2))
  }

  #onChunk(messages: readonly StreamMessage[]): void {
    if (this.#isOver || this.#isStopped) return
    this.#unread.push(messages)
    if (!this.#paused) this.#readOn()
  }

  #readOn(): void {
    while (this.#unread.length > 0 && !this.#paused && !this.#isOver) {
      const messages = this.#unread.shift()!
      this.connection.consumed()
      this.#lastRead = performance.now()
      try {
        for (const message of messages) this.#read(message)
      } catch (error) {
        this.#onEnd(toBridgeError(error))
      }
      this.#schedule()
    }
  }

  #read(message: StreamMessage): void {
    const assembler = this.#assembler!
    if ('payload' in message) {
      this.#decoder.decode(message.payload, assembler)
      return
    }
    assembler.keepalive(message.walEnd)
    if (message.replyRequested) this.#status?.asked()
  }

  #schedule(): void {
    if (this.#isScheduled) return
    this.#isScheduled = true
    queueMicrotask(() => {
      this.#isScheduled = false
      this.#flush()
    })
  }

  #flush(): void {
    if (!this.#isOpen || this.#isStopped || !this.#assembler!.hasEvents) return
    this.#handlers!.onEvents(this.#assembler!.take())
  }

  #sendStatus(): void {
    if (this.#acknowledgement === undefined) return
    this.connection.sendStatus(this.#acknowledgement.stored)
    this.#status?.sent()
  }

  #giveUp(why: string): void {
    const error = new BridgeError('SOURCE_SILENT', `simulated: ${why}`)
    this.#rejectStart?.(error)
    this.connection.close()
    this.#onEnd(error)
  }

  #rest(): void {
    this.#status?.stop()
    clearInterval(this.#watchdog)
  }

  #onEnd(error: BridgeError): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#rest()
    this.#flush()
    if (!this.#isStopped) this.#handlers!.onEnd(error)
  }
}
