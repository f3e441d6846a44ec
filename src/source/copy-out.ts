import type { Connection, Submittable } from 'pg'

export interface CopyOutHandlers {
  /** One CopyData message, valid during the call only. Must not throw: it runs in a socket listener. */
  onRow(chunk: Buffer): void
  /** All rows came; `rows` as the server counts them. */
  onDone(rows: number): void
  /** The server refused, or the connection was lost. Called at most once, and not after onDone. */
  onError(error: unknown): void
}

/**
 * `COPY … TO STDOUT` as a query of the driver's. Nothing is collected: each row is handed on as it comes, so that memory
 * is bounded by what the socket holds.
 */
export class CopyOut implements Submittable {
  readonly #text: string
  readonly #handlers: CopyOutHandlers
  #rows: number | undefined
  #isOver = false

  constructor(text: string, handlers: CopyOutHandlers) {
    this.#text = text
    this.#handlers = handlers
  }

  submit(connection: Connection): void {
    connection.query(this.#text)
  }

  handleCopyData(message: { readonly chunk: Buffer }): void {
    if (!this.#isOver) this.#handlers.onRow(message.chunk)
  }

  /** The tag is `COPY 1000000`. */
  handleCommandComplete(message: { readonly text: string }): void {
    this.#rows = Number(/^COPY (\d+)$/.exec(message.text)?.[1])
  }

  handleReadyForQuery(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#handlers.onDone(this.#rows ?? Number.NaN)
  }

  handleError(error: unknown): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#handlers.onError(error)
  }
}
