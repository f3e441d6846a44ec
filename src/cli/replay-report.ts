import { formatLsn } from '../base/lsn.ts'
import type { ReplayPlan, ReplayProgress, ReplayRecord, ReplayRequest } from '../replay/replay-record.ts'
import type { RoutedEvent } from '../routing/routing.ts'

/**
 * How far along the range a replay is, from 0 to 1; `expected`: how many rows it will read, about, where that is known.
 * Otherwise by LSN, of which other tables of the cluster use up most; undefined for the table, whose rows have none.
 */
export function fractionOf(
  { range, source }: ReplayPlan,
  progress: ReplayProgress,
  expected: number | undefined,
): number | undefined {
  // The estimate may be too low.
  if (expected !== undefined && expected > 0) return Math.min(0.99, progress.read / expected)
  if (source === 'table') return undefined
  const { from, to } = range
  const whole = to.lsn - from.lsn
  if (whole <= 0n) return 1
  const reached = progress.settled.lsn - from.lsn
  return Math.min(1, Math.max(0, Number(reached) / Number(whole)))
}

/**
 * `12,345 events, 2,100/s, 45 %, 12 s left, at 16/B374D848`; without share and time left where `fraction` is not known.
 * Rates are events settled a second since the start.
 */
export function progressText(
  fraction: number | undefined,
  progress: ReplayProgress,
  elapsed_s: number,
  began: ReplayProgress,
): string {
  const done = settledOf(progress) - settledOf(began)
  const rate = elapsed_s > 0 ? Math.round(done / elapsed_s) : 0
  const share = fraction === undefined ? '' : `, ${Math.floor(fraction * 100)} %`
  const left =
    fraction !== undefined && fraction > 0.01 && fraction < 0.99
      ? `, ${formatSeconds((elapsed_s * (1 - fraction)) / fraction)} left`
      : ''
  const dead = progress.dead > 0 ? `, ${countOf(progress.dead, 'dead letter')}` : ''
  const at = progress.settled.lsn > 1n ? `, at ${formatLsn(progress.settled.lsn)}` : ''
  return `${countOf(settledOf(progress), 'event')}, ${formatCount(rate)}/s${share}${left}${dead}${at}`
}

function settledOf({ published, dead, dropped }: ReplayProgress): number {
  return published + dead + dropped
}

function formatCount(count: number): string {
  return count.toLocaleString('en-US')
}

/** `1 event`, `12,345 events`. */
export function countOf(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? '' : 's'}`
}

function formatSeconds(seconds: number): string {
  if (seconds < 100) return `${Math.max(1, Math.round(seconds))} s`
  return seconds < 6000 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`
}

/** `LSN 16/B374D848 to 16/B4000000, committed at 2026-01-31T09:00:00.000000Z or later`, as resolved. */
export function describeRange({ range, source }: ReplayPlan): string {
  const { from, to, committedFrom, committedBefore } = range
  const place = ({ lsn, rows }: typeof from) => (rows === 0 ? formatLsn(lsn) : positionText(lsn, rows))
  const times = [
    committedFrom === undefined ? undefined : `at ${committedFrom} or later`,
    committedBefore === undefined ? undefined : `before ${committedBefore}`,
  ].filter((text) => text !== undefined)
  const verb = source === 'wal' ? 'committed' : 'created'
  const narrowed = times.length === 0 ? '' : `, ${verb} ${times.join(' and ')}`
  return `LSN ${place(from)} to ${place(to)}${narrowed}`
}

function positionText(lsn: bigint, rows: number): string {
  return `${formatLsn(lsn)}#${rows}`
}

/** An event of a dry run. Position and commit time are null where they are not known: from the table. */
export function describeEvent(event: RoutedEvent, { source }: ReplayPlan): EventFacts {
  const { eventId, aggregateType, aggregateId, type, message, origin } = event
  const known = source === 'wal'
  return {
    committedAt: known ? origin.transaction.committedAt : null,
    position: known ? positionText(event.commitLsn, event.ordinal) : null,
    eventId,
    aggregateType,
    aggregateId,
    type,
    exchange: message?.exchange ?? null,
    routingKey: message?.routingKey ?? null,
  }
}

type EventFacts = Readonly<
  Record<
    'committedAt' | 'position' | 'eventId' | 'aggregateType' | 'aggregateId' | 'type' | 'exchange' | 'routingKey',
    string | null
  >
>

/** The same as a line of a table. */
export function eventLine(
  which: string,
  { aggregateType, aggregateId, exchange, routingKey, ...event }: EventFacts,
): object {
  const aggregate = aggregateType === null ? null : `${aggregateType}/${aggregateId ?? ''}`
  const { committedAt, position, type, eventId } = event
  const place = position === null ? {} : { committedAt, position }
  const to = exchange === '' ? '(default)' : exchange
  return { '': which, ...place, aggregate, type, eventId, exchange: to, routingKey }
}

/** The stable JSON form of a range. LSNs are text, times ISO 8601 in UTC; null where nothing narrows it. */
export function rangeFacts({ range, source }: ReplayPlan): object {
  return {
    source,
    fromLsn: formatLsn(range.from.lsn),
    fromRows: range.from.rows,
    toLsn: formatLsn(range.to.lsn),
    toRows: range.to.rows,
    committedFrom: range.committedFrom ?? null,
    committedBefore: range.committedBefore ?? null,
  }
}

/** `interrupted`: nobody runs it, and it has not come to its end. */
export function stateOf({ state, locked }: Pick<ReplayRecord, 'state' | 'locked'>): string {
  return state === 'running' && !locked ? 'interrupted' : state
}

/** The stable JSON form of a replay. LSNs are text, times ISO 8601 in UTC. */
export function describeReplay(record: ReplayRecord): object {
  const { plan, progress } = record
  return {
    id: record.id,
    kind: record.kind,
    state: stateOf(record),
    startedBy: record.startedBy,
    role: record.role,
    startedAt: record.startedAt,
    updatedAt: record.updatedAt,
    finishedAt: record.finishedAt,
    request: describeRequest(record.request),
    ...rangeFacts(plan),
    ...describeProgress(plan, progress),
    error: record.errorCode === null ? null : { code: record.errorCode, text: record.errorText },
  }
}

export function describeProgress({ source }: Pick<ReplayPlan, 'source'>, progress: ReplayProgress): object {
  return {
    settledLsn: source === 'wal' ? formatLsn(progress.settled.lsn) : null,
    rowsRead: progress.read,
    rowsMatched: progress.matched,
    eventsPublished: progress.published,
    deadLettered: progress.dead,
    dropped: progress.dropped,
  }
}

function describeRequest({ from, to, where, exchange, routingKey, queue, rate }: ReplayRequest): object {
  return {
    from,
    to: to ?? null,
    where: where.map(({ key, pattern }) => `${key}=${pattern}`),
    exchange: exchange ?? null,
    routingKey: routingKey ?? null,
    queue: queue ?? null,
    rate: rate ?? null,
  }
}
