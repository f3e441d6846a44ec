import pg from 'pg'
import { startPostgres, startRabbit } from '../test/support/services.ts'
import { BridgeRun } from './bridge-run.ts'
import { Broker } from './broker.ts'
import { createPool } from './events.ts'

/** A PostgreSQL and a RabbitMQ of this run alone, with the outbox, the slot and the exchange made. */
export interface Servers {
  readonly postgresUrl: string
  readonly rabbitUrl: string
  readonly postgresVersion: string
  readonly rabbitVersion: string
  /** For filling the outbox. */
  readonly client: pg.Client
  readonly broker: Broker
  close(): Promise<void>
}

/** Starts both with their own defaults: PostgreSQL waits for its disk, RabbitMQ syncs its quorum queues. */
export async function startServers(): Promise<Servers> {
  const closings: (() => Promise<unknown>)[] = []
  const close = async (): Promise<void> => {
    for (const closing of closings.splice(0).reverse()) await closing()
  }
  try {
    const postgres = await startPostgres({ settings: { max_wal_size: '8GB' } })
    closings.push(() => postgres.dispose())
    const rabbit = await startRabbit()
    closings.push(() => rabbit.dispose())
    const broker = await Broker.connect(rabbit.url)
    closings.push(() => broker.close())
    await BridgeRun.init(postgres.url, rabbit.url)
    const client = new pg.Client({ connectionString: postgres.url })
    await client.connect()
    closings.push(() => client.end())
    await createPool(client)
    return {
      postgresUrl: postgres.url,
      rabbitUrl: rabbit.url,
      postgresVersion: postgres.version,
      rabbitVersion: rabbit.version,
      client,
      broker,
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}
