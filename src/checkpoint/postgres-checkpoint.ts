import { BridgeError } from '../base/errors.ts'
import type { Lsn } from '../base/lsn.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import type { StartPosition } from '../source/source.ts'
import type { Checkpoint, HistoryMoment, Resume } from './checkpoint.ts'
import type { CheckpointRow } from './checkpoint-row.ts'
import { CheckpointStore } from './checkpoint-store.ts'
import { comparePositions } from './positions.ts'
import { decideStart, type RememberedPosition, type ResumeSlot, slotProblem } from './resume.ts'
import { loadRewindIntent, rewindUnfinished } from './rewind-intent.ts'
import { readServerFacts, type ServerFacts } from './server-facts.ts'
import type { TimelineSwitch } from './timeline-history.ts'

/** A control connection: queries, and an end that is bounded in time. */
export interface ControlConnection extends PostgresClient {
  close(): Promise<void>
}

export interface PostgresCheckpointOptions {
  readonly slot: string
  readonly plugin: string
  /** Who stores: host and process, for people to read. */
  readonly owner: string
  /** History older than `time` milliseconds, or beyond the newest `count` entries, is deleted. */
  readonly historyRetention: { readonly time: number; readonly count: number }
  /** Connects; `onLost` is called at most once, when the connection ends without close(). */
  readonly connect: (onLost: (error: BridgeError) => void) => Promise<ControlConnection>
  readonly inspectSlot: (client: PostgresClient, name: string) => Promise<(ResumeSlot & SlotActivity) | undefined>
  /** Rejects unless publication and table carry all that is mapped; else what identifies them. */
  readonly verifyTable: (client: PostgresClient) => Promise<string>
  /** Only what identifies them: asked before each store. */
  readonly identifyTable: (client: PostgresClient) => Promise<string>
  readonly readTimelineHistory: (timeline: number) => Promise<readonly TimelineSwitch[]>
  readonly toError: (error: unknown, doing: string) => BridgeError
}

export interface SlotActivity {
  readonly active: boolean
  readonly activePid: number | null
}

/** What the process keeps from session to session: which row, of which server, its memory belongs to. */
export class CheckpointMemory {
  /** Undefined before the first claim. */
  belongsTo: Omit<RememberedPosition, 'position'> | undefined
  epoch: bigint | undefined
  /** A store without an answer: the row may hold it, under the next version. */
  inDoubt: StartPosition | undefined
  /** The row as last read or stored, for the status page. */
  row: CheckpointRow | undefined
  /** Publication and table as the first session found them. */
  verified: string | undefined
}

/** Entries of the history between two looks for old ones. */
const entriesPerPrune = 30

/** Checkpoint in PostgreSQL, beside the outbox: a restored or promoted server brings its own position along. */
export class PostgresCheckpoint implements Checkpoint {
  readonly #options: PostgresCheckpointOptions
  readonly #memory: CheckpointMemory
  #connection: ControlConnection | undefined
  #store: CheckpointStore | undefined
  /** Entries written since old ones were last removed. */
  #unpruned = 0
  #loaded: { row: CheckpointRow; server: ServerFacts; keepPartial: boolean } | undefined

  constructor(options: PostgresCheckpointOptions, memory: CheckpointMemory) {
    this.#options = options
    this.#memory = memory
  }

  /** The control connection, for other looks at the server; undefined before resume() and after close(). */
  get client(): PostgresClient | undefined {
    return this.#connection
  }

  async resume(received: StartPosition, onLost: (error: BridgeError) => void): Promise<Resume> {
    const { slot, plugin, toError } = this.#options
    const client = await this.#options.connect(onLost)
    this.#connection = client
    this.#store = new CheckpointStore({ client, slot, toError })
    // In this order: the active bridge may store and acknowledge in between, and what was read of the slot must not be
    // younger than the row, nor what was read of the row younger than the WAL end.
    const found = await this.#inspectSlot(client)
    const row = await this.#store.load()
    // After the row: a rewind that begins from here on has changed it before the claim, which then fails.
    const rewind = await this.#guard('looking for an unfinished rewind', () => loadRewindIntent(client, slot))
    if (rewind !== undefined) throw rewindUnfinished(rewind)
    const server = await this.#guard('reading the state of the server', () => readServerFacts(client))
    const remembered = row === undefined ? undefined : this.#remembered(row, received)
    const timelineHistory =
      row !== undefined && row.timeline !== server.timeline
        ? await this.#options.readTimelineHistory(server.timeline)
        : undefined
    const decision = decideStart({
      slotName: slot,
      plugin,
      checkpoint: row,
      slot: found,
      server,
      timelineHistory,
      remembered,
    })
    if (decision instanceof BridgeError) throw await this.#unlessReplaced(client, found, decision)
    if (found?.active) {
      throw new BridgeError(
        'SLOT_ACTIVE',
        `slot ${slot} is streamed by another process (server pid ${found.activePid})`,
      )
    }
    await this.#verify(client)
    const loaded = row!
    const keepPartial = decision.stored.partial !== null
    this.#loaded = { row: loaded, server, keepPartial }
    this.#memory.row = loaded
    this.#memory.belongsTo = {
      version: loaded.version,
      systemIdentifier: server.systemIdentifier,
      timeline: server.timeline,
      postmasterStartTime: server.postmasterStartTime,
    }
    return {
      start: decision.start,
      remembered: decision.from === 'remembered',
      stored: decision.stored,
      acknowledged: found!.confirmedFlush!,
    }
  }

  async claim(): Promise<void> {
    const { slot: slotName, plugin, owner } = this.#options
    const { row, server, keepPartial } = this.#loaded!
    const claimed = await this.#store!.claim(row, { name: owner, timeline: server.timeline, keepPartial })
    this.#noteRow(claimed.row)
    this.#memory.epoch = claimed.row.epoch
    // Not before: until a claim shuts it out, it may still arrive.
    this.#memory.inDoubt = undefined
    // Made anew or moved since resume() looked, it would have begun behind the stored LSN without a word.
    const slot = await this.#inspectSlot(this.#connection!)
    const problem = slotProblem(row, { slotName, slot, plugin, server })
    if (problem === undefined) return
    // Unless somebody else has taken over meanwhile, stored, and told the slot: then it is theirs, and in order.
    await this.#store!.confirmOwner()
    throw problem
  }

  async store(settled: StartPosition, rows: number): Promise<Lsn> {
    const memory = this.#memory
    await this.#checkUnaltered()
    memory.inDoubt = settled
    const { walEnd } = await this.#store!.store(settled, rows)
    memory.inDoubt = undefined
    const row = memory.row!
    this.#noteRow({
      ...row,
      position: settled,
      version: this.#store!.version!,
      events: row.events + BigInt(rows),
      storedAt: new Date().toISOString(),
    })
    return walEnd
  }

  confirmOwner(): Promise<void> {
    return this.#store!.confirmOwner()
  }

  async recordHistory(moment: HistoryMoment): Promise<void> {
    await this.#store!.recordHistory(moment)
    // A look at all entries: not worth it for each of those that come every few seconds.
    if (moment === 'interval' && ++this.#unpruned < entriesPerPrune) return
    this.#unpruned = 0
    await this.#store!.prune(this.#options.historyRetention)
  }

  async watch(): Promise<void> {
    if (this.#connection !== undefined) await this.#verify(this.#connection)
  }

  /**
   * PostgreSQL passes over rows of a table that is not in the publication without a word. What is to be stored was
   * received before this look, so nothing that was passed over is stored, however short it was.
   */
  async #checkUnaltered(): Promise<void> {
    const client = this.#connection
    if (client === undefined || (await this.#options.identifyTable(client)) === this.#memory.verified) return
    await this.#verify(client)
  }

  /** Between two looks the table may have left the publication and come back: what was inserted meanwhile is not streamed. */
  async #verify(client: PostgresClient): Promise<void> {
    const found = await this.#options.verifyTable(client)
    this.#memory.verified ??= found
    if (found === this.#memory.verified) return
    throw new BridgeError(
      'PUBLICATION_INCOMPLETE',
      'the publication was altered while the bridge ran: events inserted meanwhile may be missing from the stream',
    )
  }

  async noteUnstreamed(): Promise<void> {
    // The halt tells the operator what to look for; a server that is away just now leaves it at that.
    await this.#store?.noteUnstreamed().catch(() => undefined)
  }

  async close(): Promise<void> {
    const connection = this.#connection
    this.#connection = undefined
    await connection?.close()
  }

  /** A rewind that ended between the look at the slot and the one at the row left a slot that nobody need halt for. */
  async #unlessReplaced(
    client: PostgresClient,
    found: ResumeSlot | undefined,
    verdict: BridgeError,
  ): Promise<BridgeError> {
    const now = await this.#inspectSlot(client)
    if (now?.confirmedFlush == null || (found?.confirmedFlush ?? now.confirmedFlush + 1n) <= now.confirmedFlush) {
      return verdict
    }
    const text = `slot ${this.#options.slot} was replaced while the session looked at it: ${verdict.message}`
    return new BridgeError('CHECKPOINT_FENCED', text, { cause: verdict })
  }

  #inspectSlot(client: PostgresClient): Promise<(ResumeSlot & SlotActivity) | undefined> {
    const { slot, inspectSlot } = this.#options
    return this.#guard(`reading slot ${slot}`, () => inspectSlot(client, slot))
  }

  /** What was received before may be gone on with, if the row is the one that this process wrote last. */
  #remembered(row: CheckpointRow, position: StartPosition): RememberedPosition | undefined {
    const { belongsTo, epoch, inDoubt } = this.#memory
    if (belongsTo === undefined || epoch === undefined) return undefined
    const doubtIsOver =
      inDoubt !== undefined &&
      row.epoch === epoch &&
      row.version === belongsTo.version + 1n &&
      comparePositions(row.position, inDoubt) === 0
    return { ...belongsTo, position, version: doubtIsOver ? row.version : belongsTo.version }
  }

  #noteRow(row: CheckpointRow): void {
    this.#memory.row = row
    if (this.#memory.belongsTo !== undefined)
      this.#memory.belongsTo = { ...this.#memory.belongsTo, version: row.version }
  }

  async #guard<T>(doing: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      throw this.#options.toError(error, doing)
    }
  }
}
