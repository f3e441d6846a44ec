import { BridgeError } from '../../src/base/errors.ts'
import type { ControlConnection } from '../../src/checkpoint/postgres-checkpoint.ts'
import type { ServerConnection } from './fake-postgres.ts'
import { Pipe } from './pipe.ts'
import type { Owner } from './virtual-time.ts'
import type { World } from './world.ts'

/** Milliseconds after which a statement without an answer is given up. */
const statementTimeout = 3000
/** Milliseconds until TCP keep-alive ends a connection on which nothing passes. */
const noticed_ms = 6000

/** A plain connection to the fake PostgreSQL. When it is cut, a statement may have been carried out, or may still be. */
export class SqlConnection implements ControlConnection, ServerConnection {
  readonly toServer: Pipe
  readonly toClient: Pipe
  readonly #world: World
  readonly #owner: Owner
  readonly #onLost: (error: BridgeError) => void
  readonly #waiting = new Set<(error: BridgeError) => void>()
  #isOpenAtServer = false
  #clientOver = false

  constructor(world: World, owner: Owner, onLost: (error: BridgeError) => void = () => {}) {
    this.#world = world
    this.#owner = owner
    this.#onLost = onLost
    this.toServer = new Pipe(world, undefined)
    this.toClient = new Pipe(world, owner)
  }

  /** Rejects when the server is down. */
  connect(): Promise<this> {
    return new Promise((resolve, reject) => {
      const refuse = (text: string) => reject(new BridgeError('SOURCE_UNREACHABLE', `simulated: ${text}`))
      const timer = this.#world.time.post(statementTimeout, this.#owner, () => {
        this.hangUp()
        refuse('no answer')
      })
      const answer = (act: () => void) =>
        this.toClient.send(() => {
          timer.cancelled = true
          act()
        })
      this.toServer.send(() => {
        const { postgres } = this.#world
        if (!postgres.running) return answer(() => refuse('PostgreSQL is down'))
        this.#isOpenAtServer = true
        postgres.connections.add(this)
        answer(() => resolve(this))
      })
    })
  }

  async query({ name = '', values = [] }: { readonly name?: string; readonly values?: unknown[] }) {
    const texts = values.map(String)
    const rows = await this.execute(() => this.#world.postgres.answer(name, texts))
    return { rows, rowCount: rows.length }
  }

  /** Runs `work` at the server, where nothing waits for the answer to arrive. */
  execute<T>(work: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#clientOver) {
        reject(lost())
        return
      }
      const timer = this.#world.time.post(statementTimeout, this.#owner, () => this.#lose())
      const settle = (act: () => void) => {
        timer.cancelled = true
        this.#waiting.delete(fail)
        act()
      }
      const fail = (error: BridgeError) => settle(() => reject(error))
      this.#waiting.add(fail)
      this.toServer.send(() => {
        if (!this.#isOpenAtServer) return
        let answer: () => void
        try {
          const result = work()
          answer = () => resolve(result)
        } catch (error) {
          answer = () => reject(error)
        }
        this.toClient.send(() => {
          if (!this.#clientOver) settle(answer)
        })
      })
    })
  }

  async close(): Promise<void> {
    this.#clientOver = true
    for (const fail of this.#waiting) fail(lost())
    this.hangUp()
  }

  /** The client's end is closed, by itself or by the kernel of a dead process. */
  hangUp(): void {
    this.#clientOver = true
    this.toServer.send(() => this.#end())
  }

  /** Nothing passes any more, either way. The server notices late, the client by its timeouts. */
  blackhole(): void {
    this.toServer.blackholed = this.toClient.blackholed = true
    this.#world.time.post(noticed_ms, undefined, () => this.#end())
  }

  /** Cut by the server, or by a reset on the way: the client hears of it, and what is on its way may still arrive. */
  cut(): void {
    this.#end()
    this.toClient.send(() => this.#lose())
  }

  #end(): void {
    this.#isOpenAtServer = false
    this.#world.postgres.connections.delete(this)
  }

  #lose(): void {
    if (this.#clientOver) return
    this.hangUp()
    const error = lost()
    for (const fail of this.#waiting) fail(error)
    this.#onLost(error)
  }
}

function lost(): BridgeError {
  return new BridgeError('SOURCE_CONNECTION_LOST', 'simulated: connection lost')
}
