import { hostname } from 'node:os'
import { describeBridge } from './admin/bridge-status.ts'
import { LatencyHistogram } from './admin/latency-histogram.ts'
import { createMetrics } from './admin/metrics.ts'
import { startAdmin } from './admin/server.ts'
import { ServerMonitor } from './admin/server-monitor.ts'
import type { Logger } from './base/log.ts'
import type { PostgresClient } from './base/postgres-client.ts'
import { clientConfigFromUrl } from './base/postgres-url.ts'
import { parseTableName } from './base/sql.ts'
import { version } from './base/version.ts'
import { Bridge } from './bridge.ts'
import { CheckpointMemory, PostgresCheckpoint } from './checkpoint/postgres-checkpoint.ts'
import { makeAnchorKeeper } from './compose-anchors.ts'
import { routingOptions } from './compose-publishing.ts'
import { makeRetention } from './compose-retention.ts'
import { makeSink } from './compose-sink.ts'
import type { LoadedConfig } from './config/load.ts'
import { DeadLetterStore } from './dead-letter/dead-letter-store.ts'
import { countParked } from './dead-letter/find-dead-letters.ts'
import { resolveColumns } from './routing/column-map.ts'
import { createRouting } from './routing/message.ts'
import { connectCheckpoint } from './setup/checkpoint-connection.ts'
import { identifyOutbox, verifyOutbox } from './setup/outbox-guard.ts'
import { inspectSlotForResume } from './setup/resume-slot.ts'
import { readTimelineHistory } from './setup/server-timeline.ts'
import { sessionConnection } from './setup/session-connection.ts'
import { ConfirmWindow } from './sink/confirm-window.ts'
import { PublishLease } from './sink/publish-lease.ts'
import { toSourceError } from './source/failure.ts'
import { PostgresSource } from './source/postgres-source.ts'
import { inspectSlot } from './source/slot.ts'
import type { SourceCounters } from './source/source.ts'
import { type StopReport, Supervisor } from './supervisor.ts'

/** How long the source may stay unread: an unread socket can stall PostgreSQL's checkpoints for minutes. */
const backpressureTimeout_ms = 30_000
const publicationWatch_ms = 5_000
const parkedWatch_ms = 5_000
const statementTimeout_ms = 10_000
/** A body may be as large as PostgreSQL takes. */
const deadLetterTimeout_ms = 60_000

export interface StartedBridge {
  /** Where the HTTP server listens: `http://127.0.0.1:8090`. */
  readonly adminAddress: string
  /** Runs until stop(); closes everything. Never rejects. */
  run(): Promise<StopReport>
  /** Drains and ends run(). Idempotent. */
  stop(): void
}

/** Assembles the bridge from its concrete parts; nothing else knows their classes. Rejects with a BridgeError. */
export async function startBridge(loaded: LoadedConfig, log: Logger): Promise<StartedBridge> {
  const { config } = loaded
  clientConfigFromUrl(await loaded.sourceUrl()) // a certificate that is not there is a mistake to tell at once
  const startedAt = new Date()
  const confirmLatency = new LatencyHistogram()
  const memory = new CheckpointMemory()
  const received: SourceCounters = { rows: 0, transactions: 0, bytes: 0, ignored: 0, keepalives: 0 }
  const { order } = config.delivery
  const window = new ConfirmWindow(config.sink.confirmWindow, { order })
  const lease = new PublishLease()
  const deadLetters = makeDeadLetterStore(loaded, memory)
  const anchors = makeAnchorKeeper(loaded, log)
  const sink = await makeSink(loaded, {
    window,
    order,
    lease,
    keeper: deadLetters,
    retry: config.delivery.retry,
    onConfirmLatency: (ms, count) => confirmLatency.observe(ms / 1000, count),
    log,
  })
  let session: { bridge: Bridge; checkpoint: PostgresCheckpoint } | undefined

  const newSession = async (onStreaming: () => void): Promise<Bridge> => {
    const url = await loaded.sourceUrl()
    const checkpoint = makeCheckpoint(loaded, url, memory)
    const bridge = new Bridge({
      source: makeSource(loaded, url, received, checkpoint),
      routing: createRouting(routingOptions(loaded)),
      window,
      sink,
      lease,
      onClaimed: () => {
        anchors.begin()
        return deadLetters.begin()
      },
      // The slot keeps its WAL and nobody else may come for it: the anchors' bound has to hold all the same.
      onReleased: (reason) => (reason?.code === 'SOURCE_BACKPRESSURE' ? anchors.watch() : anchors.end()),
      checkpoint,
      timings: {
        storeInterval: config.checkpoint.interval,
        historyInterval: config.checkpoint.historyInterval,
        watchInterval: publicationWatch_ms,
        backpressureTimeout: backpressureTimeout_ms,
        drainTimeout: config.shutdown.timeout,
      },
      onStreaming: () => {
        onStreaming()
        void parkedMonitor.look()
      },
    })
    session = { bridge, checkpoint }
    return bridge
  }
  const supervisor = new Supervisor({ window, sink, log, newSession })
  const retention = makeRetention(loaded, log, () => supervisor.state)

  const { slot, plugin, publication, table } = config.source
  const slotMonitor = new ServerMonitor(async () => {
    const client = session?.checkpoint.client
    return client === undefined ? undefined : sightOfSlot(client, slot)
  })
  const parkedMonitor = new ServerMonitor(async () => {
    const client = session?.checkpoint.client
    return client === undefined ? undefined : countParked(client, slot)
  }, parkedWatch_ms)
  const provider = () => {
    session?.bridge.notePositions()
    return describeBridge({
      state: supervisor.state,
      reason: supervisor.reason,
      since: supervisor.since,
      startedAt,
      version,
      names: { name: slot, plugin, publication, table },
      slot: slotMonitor.sight,
      parked: parkedMonitor.sight,
      replayWindow: anchors.sight,
      retention: retention?.sight,
      positions: session?.bridge.positions,
      window,
      limits: config.sink.confirmWindow,
      sink,
      received,
      sourceReconnects: supervisor.reconnects,
      checkpoint: memory.row,
      now: new Date(),
    })
  }
  const admin = await startAdmin({
    ...config.admin,
    provider,
    metrics: createMetrics({ provider, confirmLatency }),
    scrub: loaded.scrub,
    onError: (error) => log.warn({ err: error }, 'admin'),
  })
  slotMonitor.start()
  parkedMonitor.start()
  retention?.start()
  return {
    adminAddress: admin.address,
    stop: () => supervisor.stop(),
    async run() {
      const report = await supervisor.run()
      slotMonitor.stop()
      parkedMonitor.stop()
      await Promise.all([deadLetters.close(), anchors.close(), retention?.stop()])
      await admin.close()
      return report
    },
  }
}

/** Rows that cannot be delivered are kept in the database of the stored LSN, so that both go back together. */
function makeDeadLetterStore(loaded: LoadedConfig, memory: CheckpointMemory): DeadLetterStore {
  const { source, deadLetter } = loaded.config
  return new DeadLetterStore({
    slot: source.slot,
    scope: deadLetter.scope,
    ownerEpoch: () => memory.epoch,
    connect: async () =>
      connectCheckpoint({
        url: await loaded.sourceUrl(),
        applicationName: 'wal2rabbit dead letters',
        statementTimeout: deadLetterTimeout_ms,
        connectTimeout: source.connectTimeout,
        systemIdentifier: memory.belongsTo?.systemIdentifier,
      }),
    toError: (error, doing) => toSourceError(error, { doing }),
  })
}

function makeCheckpoint(loaded: LoadedConfig, url: string, memory: CheckpointMemory): PostgresCheckpoint {
  const { source, checkpoint } = loaded.config
  const names = {
    plugin: source.plugin,
    publication: source.publication,
    table: parseTableName(source.table),
    columns: resolveColumns(source.columns),
  }
  return new PostgresCheckpoint(
    {
      slot: source.slot,
      plugin: source.plugin,
      owner: `${hostname()}/${process.pid}`,
      historyRetention: checkpoint.historyRetention,
      connect: (onLost) =>
        connectCheckpoint({
          url,
          applicationName: 'wal2rabbit checkpoint',
          statementTimeout: statementTimeout_ms,
          connectTimeout: source.connectTimeout,
          systemIdentifier: memory.belongsTo?.systemIdentifier,
          onLost,
        }),
      inspectSlot: inspectSlotForResume,
      verifyTable: (client) => verifyOutbox(client, names),
      identifyTable: (client) => identifyOutbox(client, names),
      readTimelineHistory: (timeline) => readTimelineHistory(url, timeline),
      toError: (error, doing) => toSourceError(error, { doing }),
    },
    memory,
  )
}

function makeSource(loaded: LoadedConfig, url: string, counters: SourceCounters, checkpoint: PostgresCheckpoint) {
  const { source } = loaded.config
  return new PostgresSource({
    connection: sessionConnection(url, source.connectTimeout),
    slot: source.slot,
    plugin: source.plugin,
    publication: source.publication,
    table: parseTableName(source.table),
    statusInterval: source.statusInterval,
    ...(source.walSenderTimeout !== undefined && { walSenderTimeout: source.walSenderTimeout }),
    counters,
    async isWalsenderAlive(pid) {
      const { client } = checkpoint
      if (client === undefined) throw new Error('no control connection')
      return (await inspectSlot(client, source.slot))?.activePid === pid
    },
  })
}

async function sightOfSlot(client: PostgresClient, name: string) {
  const facts = await inspectSlot(client, name)
  if (facts === undefined) return undefined
  return {
    walStatus: facts.walStatus ?? null,
    safeWalSize: facts.safeWalSize ?? null,
    confirmedFlushLsn: facts.confirmedFlushLsn ?? null,
    restartLsn: facts.restartLsn ?? null,
    active: facts.active,
    walEnd: (facts.restartLsn ?? 0n) + facts.retainedBytes,
  }
}
