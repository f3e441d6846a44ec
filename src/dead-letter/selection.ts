import { eventKey } from './keys.ts'

/** Which dead letters are meant; what is absent does not narrow them. */
export interface Selection {
  readonly eventIds?: readonly string[]
  /** Globs: `*` for any run of characters, `?` for one. */
  readonly type?: string
  readonly aggregateType?: string
  readonly aggregateId?: string
  /** An aggregate by name: `order`, or `order/4711`. */
  readonly aggregate?: string
  readonly reason?: string
  /** When it first failed, ISO 8601: from `since` on, and before `until`. */
  readonly since?: string
  readonly until?: string
  readonly replayId?: string
}

/** Nothing is narrowed: it means every dead letter of the slot. */
export function selectsAll(selection: Selection): boolean {
  return Object.values(selection).every((value) => value === undefined)
}

/** The condition on `letter`, a row of the slot; its parameters are appended to `values`. */
export function selectionSql(selection: Selection, values: unknown[]): string {
  const conditions: string[] = []
  const add = (value: unknown, condition: (place: string) => string) => {
    if (value !== undefined) conditions.push(condition(`$${values.push(value)}`))
  }
  const { eventIds, type, aggregateType, aggregateId, aggregate, reason, since, until, replayId } = selection
  add(eventIds?.map(eventKey), (place) => `letter.event_key = ANY(${place}::text[])`)
  add(likePattern(type), (place) => `letter.type LIKE ${place}`)
  add(likePattern(aggregateType), (place) => `letter.aggregate_type LIKE ${place}`)
  add(likePattern(aggregateId), (place) => `letter.aggregate_id LIKE ${place}`)
  add(
    aggregate,
    (place) =>
      `(letter.aggregate_type = ${place} OR concat(letter.aggregate_type, '/', letter.aggregate_id) = ${place})`,
  )
  add(reason, (place) => `letter.reason_code = ${place}`)
  add(since, (place) => `letter.first_failed_at >= ${place}::timestamptz`)
  add(until, (place) => `letter.first_failed_at < ${place}::timestamptz`)
  add(replayId, (place) => `letter.replay_id = ${place}`)
  return conditions.length === 0 ? 'true' : conditions.join(' AND ')
}

function likePattern(glob: string | undefined): string | undefined {
  return glob
    ?.replace(/[\\%_]/g, '\\$&')
    .replaceAll('*', '%')
    .replaceAll('?', '_')
}
