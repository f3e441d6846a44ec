import { formatLsn } from '../base/lsn.ts'
import type { ReplayPlan, ReplayProgress, ReplayRecord, ReplayRequest } from '../replay/replay-record.ts'

/** How far along the range a replay is, from 0 to 1; of `total` rows where they are counted. */
export function fractionOf({ range, source }: ReplayPlan, progress: ReplayProgress, total: number | undefined): number {
  if (source === 'table') return total === undefined || total === 0 ? 0 : Math.min(1, progress.read / total)
  const { from, to } = range
  const whole = to.lsn - from.lsn
  if (whole <= 0n) return 1
  const reached = progress.settled.lsn - from.lsn
  return Math.min(1, Math.max(0, Number(reached) / Number(whole)))
}

/** `12,345 events, 2,100/s, 45 % (16/B374D848), 12 s left`. Rates are events settled a second since the start. */
export function progressText(
  fraction: number,
  progress: ReplayProgress,
  elapsed_s: number,
  began: ReplayProgress,
): string {
  const done = settledOf(progress) - settledOf(began)
  const rate = elapsed_s > 0 ? Math.round(done / elapsed_s) : 0
  const left = fraction > 0.01 && fraction < 1 ? `, ${formatSeconds((elapsed_s * (1 - fraction)) / fraction)} left` : ''
  const failed = progress.dead > 0 ? `, ${formatCount(progress.dead)} dead letters` : ''
  const at = progress.settled.lsn > 1n ? ` (${formatLsn(progress.settled.lsn)})` : ''
  return `${formatCount(settledOf(progress))} events, ${formatCount(rate)}/s, ${Math.floor(fraction * 100)} %${at}${left}${failed}`
}

function settledOf({ published, dead, dropped }: ReplayProgress): number {
  return published + dead + dropped
}

export function formatCount(count: number): string {
  return count.toLocaleString('en-US')
}

function formatSeconds(seconds: number): string {
  if (seconds < 100) return `${Math.max(1, Math.round(seconds))} s`
  return seconds < 6000 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`
}

/** `from 16/B374D848 to 16/B4000000`, as resolved; with the times that narrow it. */
export function describeRange({ range }: ReplayPlan): string {
  const { from, to, committedFrom, committedBefore } = range
  const place = ({ lsn, rows }: typeof from) => (rows === 0 ? formatLsn(lsn) : `${formatLsn(lsn)}#${rows}`)
  const since = committedFrom === undefined ? '' : `, from ${committedFrom} on`
  const until = committedBefore === undefined ? '' : `, before ${committedBefore}`
  return `from ${place(from)} to ${place(to)}${since}${until}`
}

/** The stable JSON form of a replay. LSNs are text, times ISO 8601 in UTC. `state`: `interrupted` when nobody runs it. */
export function describeReplay(record: ReplayRecord): object {
  const { plan, progress } = record
  return {
    id: record.id,
    kind: record.kind,
    state: record.state === 'running' && !record.locked ? 'interrupted' : record.state,
    source: plan.source,
    startedBy: record.startedBy,
    role: record.role,
    startedAt: record.startedAt,
    updatedAt: record.updatedAt,
    finishedAt: record.finishedAt,
    request: describeRequest(record.request),
    fromLsn: formatLsn(plan.range.from.lsn),
    toLsn: formatLsn(plan.range.to.lsn),
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
