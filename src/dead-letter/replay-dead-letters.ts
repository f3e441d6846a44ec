import type { BridgeError } from '../base/errors.ts'
import type { Undeliverable, UndeliverableKeeper, Verdict } from '../sink/undeliverable.ts'
import { deadLetterValues } from './dead-letter-values.ts'
import { insertDeadLetters } from './insert-dead-letters.ts'
import { type ControlConnection, LazyConnection } from './lazy-connection.ts'
import { storeFailure } from './store-failure.ts'

export interface ReplayDeadLettersOptions {
  readonly slot: string
  readonly replayId: string
  /** A connection of its own, whose commits are durable before they are answered. Rejects with a BridgeError. */
  readonly connect: () => Promise<ControlConnection>
  /** Gives the driver's errors a code; `doing` completes "failed while …". */
  readonly toError: (error: unknown, doing: string) => BridgeError
  /** Milliseconds after which an unused connection is closed; default one minute. */
  readonly idle?: number
}

/**
 * Keeps what a replay cannot deliver, under the replay's id and apart from the live stream: it parks no aggregate, and
 * waits behind none.
 */
export class ReplayDeadLetters implements UndeliverableKeeper {
  readonly #options: ReplayDeadLettersOptions
  readonly #connection: LazyConnection

  constructor(options: ReplayDeadLettersOptions) {
    this.#options = options
    this.#connection = new LazyConnection(options.connect, options.idle ?? 60_000)
  }

  async keep(items: readonly Undeliverable[]): Promise<readonly Verdict[]> {
    const { slot, replayId, toError } = this.#options
    try {
      await this.#connection.transaction((client) =>
        insertDeadLetters(
          client,
          slot,
          items.map((item) => deadLetterValues(item, item.refusal.text, replayId)),
        ),
      )
    } catch (error) {
      throw storeFailure(error, 'storing dead letters of a replay', toError)
    }
    return items.map(() => 'kept')
  }

  isParked(): boolean {
    return false
  }

  /** Closes the connection. Never rejects. */
  close(): Promise<void> {
    return this.#connection.close()
  }
}
