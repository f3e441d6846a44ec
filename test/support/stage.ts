import amqp from 'amqplib'
import pg from 'pg'
import { BridgeProcess, runCommand } from './bridge-process.ts'
import { Collector } from './collector.ts'
import { uniqueName } from './services.ts'

export interface StageOptions {
  /** A database of its own for this stage. */
  readonly databaseUrl: string
  readonly amqpUrl: string
  readonly queueType?: 'quorum' | 'classic'
  readonly env?: Record<string, string>
  /** False leaves `init` to the test; the exchange is there all the same, so that the queue can be bound. */
  readonly init?: boolean
}

/** One outbox, one slot, one exchange with one queue bound to everything, and a bridge that is not yet started. */
export class Stage {
  readonly name: string
  readonly options: StageOptions
  readonly bridge: BridgeProcess
  #collectors: Collector[] = []

  private constructor(name: string, options: StageOptions, bridge: BridgeProcess) {
    this.name = name
    this.options = options
    this.bridge = bridge
  }

  /** Runs `init` and declares the queue, which takes all. */
  static async create(options: StageOptions): Promise<Stage> {
    const name = uniqueName('stage').replaceAll('-', '_')
    const bridge = await BridgeProcess.create({
      WAL2RABBIT_SOURCE_URL: options.databaseUrl,
      WAL2RABBIT_SINK_URL: options.amqpUrl,
      WAL2RABBIT_SOURCE_SLOT: name,
      WAL2RABBIT_SINK_EXCHANGE: name,
      ...options.env,
    })
    const stage = new Stage(name, options, bridge)
    if (options.init !== false) {
      const init = await runCommand(['init'], bridge.env)
      if (init.code !== 0) throw new Error(`init failed: ${init.stderr}`)
    }
    await stage.withChannel(async (channel) => {
      await channel.assertExchange(name, 'topic', { durable: true })
      await channel.assertQueue(name, {
        durable: true,
        arguments: { 'x-queue-type': options.queueType ?? 'quorum' },
      })
      await channel.bindQueue(name, name, '#')
    })
    return stage
  }

  async collector(): Promise<Collector> {
    const collector = await Collector.start(this.options.amqpUrl, this.name)
    this.#collectors.push(collector)
    return collector
  }

  async query(sql: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
    const client = new pg.Client({ connectionString: this.options.databaseUrl })
    await client.connect()
    try {
      return (await client.query(sql, values)).rows
    } finally {
      await client.end()
    }
  }

  async withChannel<T>(work: (channel: amqp.Channel) => Promise<T>): Promise<T> {
    const connection = await amqp.connect(this.options.amqpUrl)
    try {
      return await work(await connection.createChannel())
    } finally {
      await connection.close()
    }
  }

  /** The stored LSN, and what the slot was told. */
  async positions(): Promise<{ stored: string; confirmedFlush: string }> {
    const [row] = await this.query(
      `SELECT c.lsn::text AS stored, s.confirmed_flush_lsn::text AS confirmed
       FROM wal2rabbit.checkpoint c LEFT JOIN pg_replication_slots s ON s.slot_name = c.slot WHERE c.slot = $1`,
      [this.name],
    )
    return { stored: String(row?.stored), confirmedFlush: String(row?.confirmed) }
  }

  async dispose(): Promise<void> {
    await this.bridge.end('SIGKILL')
    for (const collector of this.#collectors) await collector.stop()
    await this.withChannel(async (channel) => {
      await channel.deleteQueue(this.name)
      await channel.deleteExchange(this.name)
    })
  }
}
