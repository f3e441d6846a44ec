import { BridgeError } from '../../src/base/errors.ts'
import { formatLsn } from '../../src/base/lsn.ts'
import { Bridge } from '../../src/bridge.ts'
import { CheckpointMemory, PostgresCheckpoint } from '../../src/checkpoint/postgres-checkpoint.ts'
import { resolveColumns } from '../../src/routing/column-map.ts'
import { createRouting } from '../../src/routing/message.ts'
import { ConfirmWindow } from '../../src/sink/confirm-window.ts'
import { leaseTimeOf, PublishLease } from '../../src/sink/publish-lease.ts'
import type { OutboundMessage } from '../../src/sink/sink.ts'
import type { StartPosition } from '../../src/source/source.ts'
import { type StopReport, Supervisor } from '../../src/supervisor.ts'
import type { OutboxEvent } from './outbox-event.ts'
import { silentLog } from './silent-log.ts'
import { SimulatedKeeper } from './simulated-keeper.ts'
import { SimulatedSink } from './simulated-sink.ts'
import { SimulatedSource } from './simulated-source.ts'
import { SqlConnection } from './sql-connection.ts'
import { covers, describe } from './truth.ts'
import type { Owner } from './virtual-time.ts'
import { type World, walSenderTimeout } from './world.ts'

const routing = createRouting({
  columns: resolveColumns({ exchange: 'exchange', transaction_id: null }),
  exchange: 'outbox',
  routingKey: '{aggregate_type}.{type}',
  routes: [
    { type: 'dropped', unroutable: 'drop' },
    { type: 'blocking', unroutable: 'block' },
  ],
  unroutable: 'dead-letter',
  maxMessageSize: 4096,
})

const timings = {
  storeInterval: 400,
  historyInterval: 3000,
  watchInterval: 60_000,
  backpressureTimeout: 3000,
  drainTimeout: 3000,
}

/** One bridge process: what compose.ts puts together, over the fake servers. */
export class BridgeHost {
  readonly owner: Owner = { alive: true, stopped: false, held: [] }
  readonly name: string
  readonly supervisor: Supervisor
  readonly sink: SimulatedSink
  readonly #world: World
  readonly #keeper: SimulatedKeeper
  report: StopReport | undefined
  #source: SimulatedSource | undefined
  #control: SqlConnection | undefined
  /** Nothing at or below it may be published: what this process claimed, or stored. */
  #base: StartPosition | undefined
  /** Published since the claim and furthest on, for the look at a graceful stop. */
  #highest: OutboxEvent | undefined
  /** When it was asked to stop. */
  #wasStreaming = false

  constructor(world: World, name: string) {
    this.#world = world
    this.name = name
    const { order, windowMessages } = world.profile
    const { owner } = this
    const window = new ConfirmWindow({ messages: windowMessages, bytes: 32 * 1024 }, { order })
    const lease = new PublishLease()
    const memory = new CheckpointMemory()
    const keeper = new SimulatedKeeper(world, owner)
    this.#keeper = keeper
    const retry = { attempts: 3, initialDelay: 20, maxDelay: 200 }
    const log = silentLog()
    const sink = new SimulatedSink(
      world,
      owner,
      { window, retry, confirmTimeout: 4000, mendInterval: 2000, keeper, order, lease, log },
      (message) => this.#onPublish(message),
    )
    this.sink = sink
    this.supervisor = new Supervisor({
      window,
      sink,
      log,
      retry: { initialDelay: 100, maxDelay: 2000 },
      standbyInterval: 700,
      mendInterval: 2000,
      newSession: async (onStreaming) => {
        const source = new SimulatedSource(world, owner)
        this.#source = source
        return new Bridge({
          source,
          routing,
          window,
          sink,
          lease,
          onClaimed: () => keeper.begin(),
          onReleased: () => {},
          checkpoint: this.#checkpoint(memory),
          timings,
          onStreaming,
        })
      },
    })
  }

  start(): void {
    this.#world.time.post(0, this.owner, () => {
      this.supervisor.run().then((report) => this.#ended(report))
    })
  }

  /** kill -9: the kernel closes the sockets, unless the network is gone with the machine. */
  kill(withNetwork: boolean): void {
    this.owner.alive = false
    if (withNetwork) this.blackhole()
    this.#source?.connection.close()
    this.#control?.hangUp()
    this.#keeper.connection?.hangUp()
    this.sink.channel?.hangUp()
  }

  /** Nothing passes on the present connections any more, either way; new ones are fine. */
  blackhole(): void {
    this.#source?.connection.blackhole()
    this.#control?.blackhole()
    this.#keeper.connection?.blackhole()
    this.sink.channel?.blackhole()
  }

  cut(which: 'source' | 'control' | 'keeper' | 'sink'): void {
    if (which === 'source') this.#source?.connection.cut()
    else if (which === 'control') this.#control?.cut()
    else if (which === 'keeper') this.#keeper.connection?.cut()
    else this.sink.channel?.cut()
  }

  terminate(): void {
    this.#world.time.post(0, this.owner, () => {
      this.#wasStreaming = this.supervisor.state === 'streaming'
      this.supervisor.stop()
    })
  }

  /** The server has stored, or let claim, in the name of this process. */
  owned(position: StartPosition, isClaim: boolean): void {
    this.#base = position
    if (isClaim) this.#highest = undefined
  }

  #checkpoint(memory: CheckpointMemory): PostgresCheckpoint {
    const { postgres } = this.#world
    return new PostgresCheckpoint(
      {
        slot: 'shop',
        plugin: 'pgoutput',
        owner: this.name,
        historyRetention: { time: 1000, count: 10 },
        connect: async (onLost) => {
          const connection = new SqlConnection(this.#world, this.owner, onLost)
          this.#control = connection
          return connection.connect()
        },
        inspectSlot: () =>
          this.#control!.execute(() => {
            const { exists, confirmed } = postgres.slot
            if (!exists) return undefined
            const active = postgres.holder !== undefined
            const facts = { name: 'shop', plugin: 'pgoutput', database: 'shop', invalidation: undefined }
            return { ...facts, confirmedFlush: confirmed, active, activePid: active ? 4711 : null }
          }),
        verifyTable: async () => 'publication',
        identifyTable: async () => 'publication',
        readTimelineHistory: async () => postgres.timelines,
        toError: (error) => (error instanceof BridgeError ? error : new BridgeError('UNKNOWN', String(error))),
      },
      memory,
    )
  }

  #onPublish(message: OutboundMessage): void {
    const { truth, postgres, time } = this.#world
    const event = truth.events.get(message.properties.messageId)
    if (event === undefined) {
      truth.breach('I2', `${message.properties.messageId} published, never committed`)
      return
    }
    if (this.#base === undefined) truth.breach('fence', `${this.name} published before it owned anything`)
    else if (covers(this.#base, event) && !truth.undone.has(event.id))
      truth.breach('I4', `${this.name} published ${describe(event)}, at or below ${formatLsn(this.#base.lsn)}`)
    const claim = postgres.lastClaim
    if (claim !== undefined && claim.by !== this.name && time.now > claim.at + leaseTimeOf(walSenderTimeout))
      truth.breach('fence', `${this.name} published ${time.now - claim.at} ms after ${claim.by} took over`)
    const highest = this.#highest
    const isFurther =
      highest === undefined ||
      event.commitLsn > highest.commitLsn ||
      (event.commitLsn === highest.commitLsn && event.ordinal > highest.ordinal)
    if (isFurther && !truth.undone.has(event.id)) this.#highest = event
  }

  #ended(report: StopReport): void {
    this.report = report
    this.kill(false)
    const { truth, postgres } = this.#world
    const highest = this.#highest
    // What another bridge has taken over is that one's to deliver; without a session there is nothing to drain.
    if (!report.drained || !this.#wasStreaming || postgres.lastClaim?.by !== this.name) return
    if (highest === undefined || this.#base === undefined) return
    if (!truth.undone.has(highest.id) && !covers(this.#base, highest))
      truth.breach('I4', `${this.name} stopped, said that it had drained, and had not stored ${describe(highest)}`)
  }
}
