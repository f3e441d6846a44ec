import { randomBytes } from 'node:crypto'
import { BridgeError } from './base/errors.ts'
import type { Logger } from './base/log.ts'
import { formatLsn } from './base/lsn.ts'
import { patiently } from './base/patiently.ts'
import { parseTableName } from './base/sql.ts'
import { connectFor, type OpenReplay, openPublishing, routingOptions } from './compose-publishing.ts'
import type { LoadedConfig } from './config/load.ts'
import { destinationOf, redirect } from './replay/destination.ts'
import { compileFilter } from './replay/event-filter.ts'
import { isEmptyRange, isSettled, type ReplayRange, startOf } from './replay/range.ts'
import { RateLimit } from './replay/rate-limit.ts'
import { baseSlotFor, walFloor } from './replay/reach.ts'
import { ReplayLedger } from './replay/replay-ledger.ts'
import { CountOutput, type ReplayOutput } from './replay/replay-output.ts'
import type { ReplayPlan, ReplayRecord, ReplayRequest } from './replay/replay-record.ts'
import { type ReplayParts, ReplayRun } from './replay/replay-run.ts'
import { resolveColumns } from './routing/column-map.ts'
import { compileGlob } from './routing/glob.ts'
import { createRouting } from './routing/message.ts'
import type { RoutedEvent } from './routing/routing.ts'
import { withControl } from './setup/connect.ts'
import type { FindEvent } from './setup/locate-position.ts'
import type { OutboxNames } from './setup/outbox-guard.ts'
import { inspectReadableTable } from './setup/readable-table.ts'
import { type ReplayFacts, settledEnd } from './setup/replay-facts.ts'
import { listReplaySlots } from './setup/replay-slots.ts'
import { tableRangeOf } from './setup/replay-table.ts'
import { routeExchanges } from './setup/route-exchanges.ts'
import { sessionConnection } from './setup/session-connection.ts'
import type { WindowLimits } from './sink/confirm-window.ts'
import { toSourceError } from './source/failure.ts'
import { KeyTrail } from './source/key-trail.ts'
import { PostgresSource } from './source/postgres-source.ts'
import type { Source, SourceRow, StartPosition } from './source/source.ts'
import { TableSource } from './source/table-source.ts'

const statementTimeout_ms = 10_000

/** A row of the table has no position: all of them are one transaction at 0/0. */
const tableRange: ReplayRange = { from: { lsn: 0n, rows: 0 }, to: { lsn: 1n, rows: 0 } }
const tablePosition = { commitLsn: 0n, commitLsnText: '0/0' }

/** What a replay runs on, whatever it is for. */
export interface ReplayBasis {
  readonly loaded: LoadedConfig
  readonly plan: ReplayPlan
  readonly request: ReplayRequest
  readonly log: Pick<Logger, 'info' | 'warn'>
  readonly onTick: () => void
}

/** Whether a replay has nothing to read, or nothing more. */
export function isOver({ source, range }: ReplayPlan, settled: StartPosition): boolean {
  return isEmptyRange(range) || isSettled(source === 'wal' ? range : tableRange, settled)
}

/** `20260131235959-3fa2`: when it began, in UTC, and four random digits. */
export function newReplayId(): string {
  return `${new Date().toISOString().replaceAll(/\D/g, '').slice(0, 14)}-${randomBytes(2).toString('hex')}`
}

export function makeLedger(loaded: LoadedConfig, id: string): ReplayLedger {
  return new ReplayLedger({
    slot: loaded.config.source.slot,
    id,
    connect: () => connectFor(loaded, 'wal2rabbit replay', statementTimeout_ms),
    toError: (error, doing) => toSourceError(error, { doing }),
  })
}

/** Assembles a replay from its concrete parts. Rejects with a BridgeError. */
export function openReplay(
  basis: ReplayBasis,
  ledger: ReplayLedger,
  record: Pick<ReplayRecord, 'id' | 'progress'>,
): Promise<OpenReplay> {
  const { loaded, request, log } = basis
  return openPublishing({
    loaded,
    ledger,
    record,
    log,
    window: replayLimits(loaded.config.sink.confirmWindow),
    sink: destinationNeeds(loaded, request),
    parts: async (output, trail) => ({
      ...(await commonParts(basis, output, record.id, trail, record.progress.tableKey)),
      admits: admitsOf(request),
      redirect: (event) => redirect(event, destinationOf(request)),
      rate: new RateLimit(request.rate),
    }),
  })
}

/** Reads the range, publishes nothing and records nothing; tells each event that would be published to `visit`. */
export async function openDryRun(basis: ReplayBasis, visit: (event: RoutedEvent) => void): Promise<ReplayRun> {
  const { loaded, request, plan } = basis
  const start = plan.source === 'wal' ? startOf(plan.range) : startOf(tableRange)
  return new ReplayRun({
    ...(await commonParts(basis, new CountOutput(start, visit), undefined, new KeyTrail(), undefined)),
    admits: admitsOf(request),
    redirect: (event) => redirect(event, destinationOf(request)),
    rate: new RateLimit(undefined),
    store: serverWatch(loaded),
  })
}

/** Looks for an event in the WAL, from `from` or from as far back as it reaches, up to what the live stream has settled. */
export function makeFindEvent(loaded: LoadedConfig, facts: ReplayFacts, log: ReplayBasis['log']): FindEvent {
  return async (id, from) => {
    const floor = walFloor(facts.slots)
    const to = settledEnd(facts)
    if (floor === undefined || isEmptyRange({ from: { lsn: floor, rows: 0 }, to })) return undefined
    const start = from !== undefined && from > floor ? from : floor
    const range: ReplayRange = { from: { lsn: start, rows: 0 }, to }
    let found: { commitLsn: bigint; ordinal: number } | undefined
    const request: ReplayRequest = { from: '', where: [] }
    const plan: ReplayPlan = {
      ...{ source: 'wal', range, fromSnapshot: undefined, toSnapshot: undefined },
      ...{ systemIdentifier: facts.server.systemIdentifier, timeline: facts.server.timeline },
    }
    const output = new CountOutput(startOf(range), ({ commitLsn, ordinal }) => {
      found ??= { commitLsn, ordinal }
      run.stop()
    })
    const basis: ReplayBasis = { loaded, plan, request, log, onTick: () => undefined }
    const run: ReplayRun = new ReplayRun({
      ...(await commonParts(basis, output, undefined, new KeyTrail(), undefined)),
      admits: ({ eventId }) => found === undefined && isEvent(id, eventId),
      redirect: (event) => event,
      rate: new RateLimit(undefined),
      store: serverWatch(loaded),
    })
    await run.run()
    return found
  }
}

/**
 * What only reads has nothing to store, and yet must notice that the server shuts down: it waits for whoever reads on, and
 * refuses new connections meanwhile. Resolves after ten seconds at the latest, to be asked again.
 */
function serverWatch(loaded: LoadedConfig): () => Promise<void> {
  let askedAt = 0
  return async () => {
    if (performance.now() - askedAt < 3000) return
    const ask = () => onControl(loaded, 'asking whether the server shuts down', async () => undefined, 2000)
    // What is wrong with the server is for the stream itself to notice.
    await patiently(ask, 10_000, ({ code }) => code === 'SOURCE_SHUTTING_DOWN').catch(() => undefined)
    askedAt = performance.now()
  }
}

/** PostgreSQL prints a uuid in lower case, however it was written. */
function isEvent(asked: string, eventId: string | null): boolean {
  return eventId === asked || (/^[0-9a-f-]{36}$/i.test(asked) && eventId === asked.toLowerCase())
}

/**
 * Much smaller than the live one: what the broker has of both in flight is how it shares its time between them, and what
 * a live event waits behind. With 100 it waits half as long as with 500 (npm run bench -- --replay), and a broker that is
 * 5 ms away still takes 20,000 events a second.
 */
function replayLimits({ messages, bytes }: WindowLimits): WindowLimits {
  return { messages: Math.min(messages, 100), bytes: Math.min(bytes, 8 * 1024 * 1024) }
}

type CommonParts = Pick<ReplayParts, 'range' | 'newSource' | 'mayRest' | 'routing' | 'output' | 'onTick' | 'onPushed'>

async function commonParts(
  basis: ReplayBasis,
  output: ReplayOutput,
  replayId: string | undefined,
  trail: KeyTrail,
  tableKey: string | undefined,
): Promise<CommonParts> {
  const { loaded, plan, onTick } = basis
  const positions = plan.source === 'wal' ? 'known' : 'unknown'
  const routing = createRouting({ ...routingOptions(loaded), replayId, positions })
  if (plan.source === 'wal') {
    return { range: plan.range, newSource: walSources(loaded), routing, output, onTick }
  }
  let source: TableSource | undefined
  const newSource = async (start: StartPosition): Promise<Source> => {
    source = await openTable(loaded, plan, start, trail.last ?? tableKey)
    return source
  }
  const onPushed = (row: SourceRow) => trail.note(row.ordinal, source!.orderKeyOf(row))
  return { range: tableRange, newSource, mayRest: true, routing, output, onTick, onPushed }
}

/**
 * Temporary copies, each on a replication connection of its own: of the youngest slot that reaches back to the start, or of
 * the copy that is held, which reaches there also when the anchor that it was made from is gone.
 */
function walSources(loaded: LoadedConfig): ReplayParts['newSource'] {
  const copies = new WeakMap<Source, string>()
  return async (start, held) => {
    const base = held === undefined ? await baseFor(loaded, start) : copies.get(held)!
    const copy = `${loaded.config.source.slot.slice(0, 40)}_replay_${randomBytes(5).toString('hex')}`
    const source = await openWal(loaded, base, copy)
    copies.set(source, copy)
    return source
  }
}

async function baseFor(loaded: LoadedConfig, start: StartPosition): Promise<string> {
  const { slot } = loaded.config.source
  const slots = await onControl(loaded, 'looking for a slot', (client) => listReplaySlots(client, slot))
  const base = baseSlotFor(slots, start.lsn)
  if (base !== undefined) return base.name
  const floor = walFloor(slots)
  throw new BridgeError(
    'REPLAY_OUT_OF_REACH',
    `no slot reaches back to ${formatLsn(start.lsn)} any more: ${floor === undefined ? 'none keeps any WAL' : `the WAL reaches back to ${formatLsn(floor)}`}`,
  )
}

async function openWal(loaded: LoadedConfig, base: string, slot: string): Promise<Source> {
  const { source } = loaded.config
  return new PostgresSource({
    connection: sessionConnection(await loaded.sourceUrl(), source.connectTimeout),
    slot,
    copyOf: base,
    plugin: source.plugin,
    publication: source.publication,
    table: parseTableName(source.table),
    statusInterval: source.statusInterval,
    ...(source.walSenderTimeout !== undefined && { walSenderTimeout: source.walSenderTimeout }),
    isWalsenderAlive: (pid) =>
      onControl(loaded, 'looking for the walsender', async (client) => {
        const text = 'SELECT 1 FROM pg_stat_activity WHERE pid = $1'
        return (await client.query({ text, values: [pid] })).rows.length > 0
      }),
  })
}

async function openTable(
  loaded: LoadedConfig,
  plan: ReplayPlan,
  start: StartPosition,
  after: string | undefined,
): Promise<TableSource> {
  const { source } = loaded.config
  const names = outboxNames(loaded)
  const table = await onControl(loaded, 'looking at the table', (client) => inspectReadableTable(client, names))
  const firstOrdinal = start.partial?.rows ?? 0
  return new TableSource({
    connection: sessionConnection(await loaded.sourceUrl(), source.connectTimeout),
    table,
    range: tableRangeOf(plan, after),
    position: tablePosition,
    firstOrdinal,
  })
}

export function outboxNames({ config }: LoadedConfig): OutboxNames {
  const { plugin, publication, table, columns } = config.source
  return { plugin, publication, table: parseTableName(table), columns: resolveColumns(columns) }
}

function admitsOf({ where }: ReplayRequest): (event: RoutedEvent) => boolean {
  return compileFilter(where, compileGlob)
}

/** What must be there before anything is sent; undefined stays as the bridge has it. */
function destinationNeeds({ config }: LoadedConfig, { exchange, queue }: ReplayRequest) {
  const nothing = { mode: 'verify', exchanges: [], queues: [], bindings: [] } as const
  if (queue !== undefined) {
    return {
      exchanges: [],
      topology: { ...nothing, queues: [{ name: queue, type: 'classic', durable: true }] as const },
    }
  }
  const own = [
    { name: config.sink.exchange, key: 'sink.exchange' },
    ...routeExchanges(config.sink.exchange, config.routes),
  ]
  return { exchanges: exchange === undefined ? own : [{ name: exchange, key: '--exchange' }], topology: nothing }
}

async function onControl<T>(
  loaded: LoadedConfig,
  doing: string,
  work: Parameters<typeof withControl<T>>[2],
  patience_ms = Number.POSITIVE_INFINITY,
): Promise<T> {
  const connectTimeout = Math.min(loaded.config.source.connectTimeout, patience_ms)
  const options = { applicationName: 'wal2rabbit replay', statementTimeout: statementTimeout_ms, connectTimeout }
  return withControl({ ...options, url: await loaded.sourceUrl() }, doing, work)
}
