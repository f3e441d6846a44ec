import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { urlOfDatabase } from './server.ts'
import type { Query } from './witness.ts'

/** One connection to a database that is made again when it is lost: servers come and go in here. */
export class Database {
  readonly #url: string
  readonly #name: string
  #client: pg.Client | undefined
  #busy: Promise<unknown> = Promise.resolve()

  /** `name` is the application_name. */
  constructor(url: string, name: string) {
    this.#url = url
    this.#name = name
  }

  /** Rejects when the server is not there, or does not answer within 20 s. Statements wait for each other. */
  readonly query: Query = (sql, values = []) => {
    const result = this.#busy.then(() => this.#run(sql, values))
    this.#busy = result.catch(() => undefined)
    return result
  }

  /** The same server and user, another database. */
  urlFor(database: string): string {
    return urlOfDatabase(this.#url, database)
  }

  async close(): Promise<void> {
    const client = this.#client
    this.#client = undefined
    if (client !== undefined)
      await Promise.race([client.end().catch(() => undefined), delay(2000, undefined, { ref: false })])
  }

  async #run(sql: string, values: unknown[]): Promise<Record<string, unknown>[]> {
    this.#client ??= await this.#connect()
    try {
      return (await this.#client.query<Record<string, unknown>>(sql, values)).rows
    } catch (error) {
      // An error of the statement leaves the connection as it is; all others may have lost it.
      if (!(error instanceof pg.DatabaseError) || error.severity !== 'ERROR') await this.close()
      throw error
    }
  }

  async #connect(): Promise<pg.Client> {
    const client = new pg.Client({
      connectionString: this.#url,
      application_name: this.#name,
      connectionTimeoutMillis: 5000,
      query_timeout: 120_000,
    })
    const forget = (): void => {
      if (this.#client === client) this.#client = undefined
    }
    // A restart of the server in between two statements is not the second one's failure.
    client.on('error', forget)
    client.on('end', forget)
    try {
      await client.connect()
      return client
    } catch (error) {
      await client.end().catch(() => undefined)
      throw error
    }
  }
}
