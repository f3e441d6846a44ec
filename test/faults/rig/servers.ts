import { connect } from 'amqplib'
import pg from 'pg'
import { type PostgresServer, type RabbitServer, startPostgresServer, startRabbitServer } from './server.ts'

export type ServerName = 'postgres' | 'rabbit'

/** The two servers that the rows of a run share, started when first asked for. */
export class Servers {
  #postgres: PostgresServer | undefined
  #rabbit: RabbitServer | undefined
  #versions: { postgres?: string; rabbit?: string } = {}

  async postgres(): Promise<PostgresServer> {
    this.#postgres ??= await startPostgresServer()
    this.#versions.postgres = this.#postgres.service.version
    return this.#postgres
  }

  async rabbit(): Promise<RabbitServer> {
    this.#rabbit ??= await startRabbitServer()
    this.#versions.rabbit = this.#rabbit.service.version
    return this.#rabbit
  }

  /** `PostgreSQL 15.14, RabbitMQ 3.10.8` */
  get versions(): string {
    const { postgres = '?', rabbit = '?' } = this.#versions
    return `PostgreSQL ${postgres}, RabbitMQ ${rabbit}`
  }

  /** Undoes what a row left behind; a server that does not answer after it, or that the row gave up, is thrown away. */
  async mend(broken: readonly ServerName[] = []): Promise<void> {
    const [postgres, rabbit] = [this.#postgres, this.#rabbit]
    if (postgres !== undefined && (broken.includes('postgres') || !(await mends(postgres, postgresAnswers)))) {
      this.#postgres = undefined
      await postgres.dispose()
    }
    if (rabbit !== undefined && (broken.includes('rabbit') || !(await mends(rabbit, rabbitAnswers)))) {
      this.#rabbit = undefined
      await rabbit.dispose()
    }
  }

  async dispose(): Promise<void> {
    await Promise.all([this.#postgres?.dispose(), this.#rabbit?.dispose()])
    this.#postgres = undefined
    this.#rabbit = undefined
  }
}

/** Heals the proxy, resumes and starts the server; false when it does not answer. */
async function mends<Server extends PostgresServer | RabbitServer>(
  server: Server,
  answers: (server: Server) => Promise<void>,
): Promise<boolean> {
  try {
    server.proxy.heal()
    await server.proxy.refuse(false)
    await server.service.resume()
    await server.service.start()
    await answers(server)
    return true
  } catch {
    // Whatever it is, a new server is the cure.
    return false
  }
}

async function postgresAnswers({ directUrl }: PostgresServer): Promise<void> {
  const client = new pg.Client({ connectionString: directUrl, connectionTimeoutMillis: 5000, query_timeout: 5000 })
  await client.connect()
  try {
    await client.query('SELECT 1')
  } finally {
    await client.end()
  }
}

/** Takes a publish: a node with an alarm accepts connections, and then blocks them. */
async function rabbitAnswers({ directUrl }: RabbitServer): Promise<void> {
  const connection = await connect(directUrl, { timeout: 5000 })
  try {
    const channel = await connection.createConfirmChannel()
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('no confirm within 10 s')), 10_000)
      channel.publish('', 'nobody', Buffer.alloc(0), {}, (error: unknown) => {
        clearTimeout(timer)
        if (error) reject(error)
        else resolve()
      })
    })
  } finally {
    await connection.close()
  }
}
