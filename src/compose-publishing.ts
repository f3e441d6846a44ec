import type { BridgeError } from './base/errors.ts'
import type { Logger } from './base/log.ts'
import { makeSink, type SinkParts } from './compose-sink.ts'
import type { LoadedConfig } from './config/load.ts'
import { ReplayDeadLetters } from './dead-letter/replay-dead-letters.ts'
import type { ReplayLedger } from './replay/replay-ledger.ts'
import { PublishOutput, type ReplayOutput } from './replay/replay-output.ts'
import type { ReplayProgress, ReplayRecord } from './replay/replay-record.ts'
import { type ReplayParts, ReplayRun } from './replay/replay-run.ts'
import { resolveColumns } from './routing/column-map.ts'
import type { RoutingOptions } from './routing/message.ts'
import { connectCheckpoint } from './setup/checkpoint-connection.ts'
import { ConfirmWindow, type WindowLimits } from './sink/confirm-window.ts'
import { toSourceError } from './source/failure.ts'
import { KeyTrail } from './source/key-trail.ts'

/** A body may be as large as PostgreSQL takes. */
const deadLetterTimeout_ms = 60_000

/** A run that publishes, with what is to be seen of it meanwhile. */
export interface OpenReplay {
  readonly run: ReplayRun
  readonly progress: () => ReplayProgress
  /** Why the broker takes nothing at present; undefined when all is well. */
  readonly trouble: () => BridgeError | undefined
  close(): Promise<void>
}

export interface PublishingOptions {
  readonly loaded: LoadedConfig
  readonly ledger: ReplayLedger
  /** Its id, and how far it has come before. */
  readonly record: Pick<ReplayRecord, 'id' | 'progress'>
  readonly log: Pick<Logger, 'info' | 'warn'>
  /** Default: as large as that of the bridge. */
  readonly window?: WindowLimits
  /** What it needs of the broker where that is not what the bridge needs. */
  readonly sink?: Partial<Pick<SinkParts, 'exchanges' | 'topology'>>
  readonly parts: (output: ReplayOutput, trail: KeyTrail) => Promise<Omit<ReplayParts, 'output' | 'store' | 'counts'>>
}

/** A run with a window, a connection to the broker and dead letters of its own. Rejects with a BridgeError. */
export async function openPublishing(options: PublishingOptions): Promise<OpenReplay> {
  const { loaded, ledger, log } = options
  const { id, progress: before } = options.record
  const { config } = loaded
  const { order } = config.delivery
  const window = new ConfirmWindow(options.window ?? config.sink.confirmWindow, { order, positions: 'sparse' })
  window.reset(before.settled)
  const keeper = new ReplayDeadLetters({
    slot: config.source.slot,
    replayId: id,
    connect: () => connectFor(loaded, 'wal2rabbit replay dead letters', deadLetterTimeout_ms),
    toError: (error, doing) => toSourceError(error, { doing }),
  })
  const { retry } = config.delivery
  // A name apart from the bridge's, for who looks at the connections of the broker, or closes one.
  const connectionName = `wal2rabbit replay ${id}`
  const sink = await makeSink(loaded, { window, order, keeper, retry, log, connectionName, ...options.sink })
  const trail = new KeyTrail()
  const progress = (): ReplayProgress => {
    const { confirmed, deadLettered, dropped } = sink.counters
    const { settled } = window
    return {
      settled,
      tableKey: trail.below(settled.partial?.rows ?? 0) ?? before.tableKey,
      ...run.counts,
      published: before.published + confirmed,
      dead: before.dead + deadLettered,
      dropped: before.dropped + dropped,
    }
  }
  const output = new PublishOutput(window, sink)
  const run: ReplayRun = new ReplayRun({
    ...(await options.parts(output, trail)),
    output,
    store: async () => ledger.store(progress()),
    counts: before,
  })
  sink.start({ onProgress: () => run.onProgress(), onState: () => run.onProgress() })
  return {
    run,
    progress,
    trouble: () => (sink.state === 'open' ? undefined : sink.reason),
    async close() {
      await sink.stop()
      await keeper.close()
    },
  }
}

/** Routing as the bridge has it. */
export function routingOptions({ config }: LoadedConfig): RoutingOptions {
  return {
    columns: resolveColumns(config.source.columns),
    exchange: config.sink.exchange,
    routingKey: config.sink.routingKey,
    routes: config.routes,
    unroutable: config.delivery.unroutable,
    maxMessageSize: config.sink.maxMessageSize,
  }
}

/** A connection for bookkeeping. Rejects with a BridgeError. */
export async function connectFor(loaded: LoadedConfig, applicationName: string, statementTimeout: number) {
  const { connectTimeout } = loaded.config.source
  return connectCheckpoint({
    url: await loaded.sourceUrl(),
    applicationName,
    statementTimeout,
    connectTimeout,
    purpose: 'replay',
  })
}
