import { randomUUID } from 'node:crypto'
import type { WrittenRow } from '../checkers/history.ts'
import type { Scene } from '../rig/scene.ts'
import { routingKeyOf } from '../workload/aggregates.ts'
import { digestOf } from '../workload/digest.ts'
import { payloadCanary } from '../workload/transaction.ts'

export interface OwnEvent {
  /** Unlike those of the writers, `w0.12`. */
  readonly aggregate: string
  /** Number within its aggregate, from 1; 1. */
  readonly sequence?: number
  /** Makes the payload large. */
  readonly note?: string
  /** Value of the column `exchange`, where the table has one. */
  readonly exchange?: string
}

/** Inserts one event beside the writers, and into their ledger. Resolves with its id once it has committed. */
export async function insertOwn(scene: Scene, event: OwnEvent): Promise<string> {
  const [id] = await insertAllOwn(scene, [event])
  return String(id)
}

/** The same for many, in one transaction and in this order. */
export async function insertAllOwn(scene: Scene, events: readonly OwnEvent[]): Promise<string[]> {
  const type = 'Event1'
  const rows = events.map(({ aggregate, sequence = 1, note = '', exchange }) => {
    const id = randomUUID()
    // As jsonb prints it: keys by length.
    const body = `{"id": "${id}", "note": "${payloadCanary} ${note}", "sequence": ${sequence}}`
    const digest = digestOf({ routingKey: routingKeyOf(aggregate, type), type, aggregate, sequence, body })
    return { id, aggregate, sequence, body, exchange, written: { aggregate, sequence, digest } satisfies WrittenRow }
  })
  const named = rows.some(({ exchange }) => exchange !== undefined)
  await scene.query(
    `INSERT INTO outbox (id, aggregate_type, aggregate_id, type, payload, headers${named ? ', exchange' : ''})
     SELECT i, 'order', a, $5, p, jsonb_build_object('sequence', s)${named ? ', e' : ''}
     FROM unnest($1::uuid[], $2::text[], $3::jsonb[], $4::int[]${named ? ', $6::text[]' : ''})
       WITH ORDINALITY AS u (i, a, p, s${named ? ', e' : ''}, n) ORDER BY n`,
    [
      rows.map(({ id }) => id),
      rows.map(({ aggregate }) => aggregate),
      rows.map(({ body }) => body),
      rows.map(({ sequence }) => sequence),
      type,
      ...(named ? [rows.map(({ exchange }) => exchange ?? null)] : []),
    ],
  )
  scene.load.ledger.commit(new Map(rows.map(({ id, written }) => [id, written])))
  return rows.map(({ id }) => id)
}
