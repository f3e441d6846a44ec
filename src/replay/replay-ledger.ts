import { BridgeError } from '../base/errors.ts'
import { patiently } from '../base/patiently.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import {
  insertReplay,
  lockKeySql,
  type ReplayProgress,
  type ReplayRecord,
  type ReplayState,
  readReplay,
  setReplayState,
  updateReplay,
} from './replay-record.ts'

type Connection = PostgresClient & { close(): Promise<void> }

export interface ReplayLedgerOptions {
  readonly slot: string
  readonly id: string
  /** A connection of its own, with durable commits. Rejects with a BridgeError. */
  readonly connect: () => Promise<Connection>
  /** Gives the driver's errors a code; `doing` completes "failed while …". */
  readonly toError: (error: unknown, doing: string) => BridgeError
  /** How long PostgreSQL may be away before a store gives up, milliseconds; default one minute. */
  readonly patience?: number
}

/**
 * The row of one replay in `wal2rabbit.replay`, and the advisory lock that keeps a second process from running the same
 * one. A lost connection is made again, with the lock; who finds the lock taken by then gives way.
 */
export class ReplayLedger {
  readonly #options: ReplayLedgerOptions
  #connection: Connection | undefined

  constructor(options: ReplayLedgerOptions) {
    this.#options = options
  }

  /** Records a new replay. Rejects with a BridgeError. */
  async begin(
    record: Pick<ReplayRecord, 'kind' | 'startedBy' | 'request' | 'plan'>,
    start: ReplayProgress['settled'],
  ): Promise<void> {
    const { id, slot } = this.#options
    await this.#run('recording the replay', (client) => insertReplay(client, { ...record, id, slot }, start))
  }

  /**
   * What is recorded of one that is not done; from here on no other process can take it up. Its state stays as it is
   * until resume(). Rejects with REPLAY_RUNNING or USAGE.
   */
  async read(): Promise<ReplayRecord> {
    const { id, slot } = this.#options
    return this.#run('reading the replay', async (client) => {
      const record = await readReplay(client, slot, id)
      if (record === undefined || record.kind !== 'replay') {
        throw new BridgeError(
          'USAGE',
          `slot ${slot} has no replay ${JSON.stringify(id)}, expected one that "wal2rabbit replays" lists`,
        )
      }
      if (record.state === 'done') throw new BridgeError('USAGE', `replay ${id} is done: there is nothing to resume`)
      return record
    })
  }

  /** Records that it runs again; the error that it had is forgotten. Rejects with a BridgeError. */
  async resume(): Promise<void> {
    await this.#run('recording the replay', (client) => setReplayState(client, this.#options.id, 'running'))
  }

  /** Rejects with a BridgeError when it is no longer this process's to run, or cannot be stored. */
  store(progress: ReplayProgress): Promise<void> {
    const { id } = this.#options
    return this.#patiently('storing the progress of the replay', async (client) => {
      if (await updateReplay(client, id, progress)) return
      throw new BridgeError('REPLAY_RUNNING', `replay ${id} was ended by somebody else`)
    })
  }

  /** After a failure not for long: what was stored last serves to resume it, whatever state is recorded. Rejects with a BridgeError. */
  end(state: ReplayState, error?: BridgeError): Promise<void> {
    const work = (client: PostgresClient) => setReplayState(client, this.#options.id, state, error)
    return this.#patiently('recording the end of the replay', work, error === undefined ? undefined : 5000)
  }

  /** Never rejects. */
  async close(): Promise<void> {
    const connection = this.#connection
    this.#connection = undefined
    await connection?.close()
  }

  #patiently<T>(doing: string, work: (client: PostgresClient) => Promise<T>, patience = 60_000): Promise<T> {
    return patiently(
      () => this.#run(doing, work),
      this.#options.patience ?? patience,
      // Right after a lost connection the server may still hold the lock for it.
      ({ action, code }) => action === 'retry' || (code === 'REPLAY_RUNNING' && this.#connection === undefined),
    )
  }

  async #run<T>(doing: string, work: (client: PostgresClient) => Promise<T>): Promise<T> {
    try {
      this.#connection ??= await this.#connectLocked()
      return await work(this.#connection)
    } catch (error) {
      if (!(error instanceof BridgeError)) await this.close()
      throw this.#options.toError(error, doing)
    }
  }

  async #connectLocked(): Promise<Connection> {
    const { connect, id } = this.#options
    const connection = await connect()
    try {
      const text = `SELECT pg_try_advisory_lock(${lockKeySql('$1::text')}) AS locked`
      const { rows } = await connection.query({ text, values: [id] })
      if (rows[0]?.locked === true) return connection
      throw new BridgeError('REPLAY_RUNNING', `another process runs replay ${id}`)
    } catch (error) {
      await connection.close()
      throw error
    }
  }
}
