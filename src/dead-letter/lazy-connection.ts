import type { PostgresClient } from '../base/postgres-client.ts'

/** A connection that can be ended. */
export type ControlConnection = PostgresClient & { close(): Promise<void> }

/**
 * A connection that is made when it is needed, dropped when something failed on it, and closed when nobody has used it
 * for `idle` milliseconds. One user at a time.
 */
export class LazyConnection {
  readonly #connect: () => Promise<ControlConnection>
  readonly #idle: number
  #connection: ControlConnection | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(connect: () => Promise<ControlConnection>, idle: number) {
    this.#connect = connect
    this.#idle = idle
  }

  /**
   * Runs `work` in a transaction. Whatever it rejects with, or the commit, nothing is relied on any more. `guardSql` goes
   * in one message with the commit: where it fails, nothing is committed, and no pause of this process comes in between.
   */
  async transaction<T>(work: (client: PostgresClient) => Promise<T>, guardSql = ''): Promise<T> {
    clearTimeout(this.#timer)
    this.#connection ??= await this.#connect()
    const connection = this.#connection
    try {
      await connection.query({ text: 'BEGIN' })
      const result = await work(connection)
      await connection.query({ text: `${guardSql}COMMIT` })
      this.#timer = setTimeout(() => void this.close(), this.#idle)
      this.#timer.unref()
      return result
    } catch (error) {
      // The server rolls back what is open when the connection goes.
      await this.close()
      throw error
    }
  }

  /** Never rejects. The next transaction connects anew. */
  async close(): Promise<void> {
    clearTimeout(this.#timer)
    const connection = this.#connection
    this.#connection = undefined
    await connection?.close()
  }
}
