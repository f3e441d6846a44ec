import { randomUUID } from 'node:crypto'
import type { Scene } from '../rig/scene.ts'
import { routingKeyOf } from '../workload/aggregates.ts'
import { digestOf } from '../workload/digest.ts'
import { until } from './postgres-halt.ts'

/** An event of a row's own, each the first of an aggregate of its own. All has a harmless default. */
export interface OddEvent {
  readonly aggregate?: string
  readonly type?: string
  /** As PostgreSQL prints it. */
  readonly payload?: string | null
  readonly headers?: string
}

let made = 0

/** Inserts it as a transaction of its own, and notes it in the ledger. Its id. */
export async function writeEvent(scene: Scene, event: OddEvent): Promise<string> {
  const { type = 'Odd', payload = '{"odd": true}', headers = '{"sequence": 1}' } = event
  const aggregate = `${event.aggregate ?? 'odd'}.${++made}`
  return insert(scene, { aggregate, type, columns: { payload, headers }, body: payload ?? '', sequence: 1 })
}

/** For a table that is not as it was: only these columns beside id, aggregate and type. It has no header `sequence`. */
export async function writeOdd(
  scene: Scene,
  { columns, body }: { readonly columns: Readonly<Record<string, string>>; readonly body: string },
): Promise<string> {
  return insert(scene, { aggregate: `odd.${++made}`, type: 'Odd', columns, body, sequence: Number.NaN })
}

interface Insertion {
  readonly aggregate: string
  readonly type: string
  readonly columns: Readonly<Record<string, string | null>>
  readonly body: string
  readonly sequence: number
}

async function insert(scene: Scene, { aggregate, type, columns, body, sequence }: Insertion): Promise<string> {
  const id = randomUUID()
  const names = Object.keys(columns)
  await scene.query(
    `INSERT INTO public.outbox (id, aggregate_type, aggregate_id, type${names.map((name) => `, ${name}`).join('')})
     VALUES ($1, 'order', $2, $3${names.map((_, n) => `, $${n + 4}`).join('')})`,
    [id, aggregate, type, ...Object.values(columns)],
  )
  const digest = digestOf({ routingKey: routingKeyOf(aggregate, type), type, aggregate, sequence, body })
  scene.load.ledger.commit(new Map([[id, { aggregate, sequence, digest }]]))
  return id
}

/**
 * Takes note of the connection as it is. The function that it gives waits for these dead letters, by event id and reason,
 * and no others, beyond `more` of which it is not known whether they are some; and asks that the channel stayed open.
 */
export async function beginAndEnd(scene: Scene, { mayClose = false }: { readonly mayClose?: boolean } = {}) {
  const before = (await scene.bridge.status())?.counters.reconnects
  return async (expected: ReadonlyMap<string, string>, more = 0): Promise<void> => {
    const letters = () =>
      scene.query('SELECT event_id, reason_code FROM wal2rabbit.dead_letter WHERE slot = $1', [scene.slot])
    await until(`${expected.size} dead letters`, 60_000, async () => {
      const kept = new Set((await letters()).map(({ event_id }) => String(event_id)))
      return [...expected.keys()].every((id) => kept.has(id))
    })
    const kept = await letters()
    scene.parts.arrivals.excuse(kept.map(({ event_id }) => String(event_id)))
    await scene.recovers('the good ones are delivered', 20_000)
    for (const { event_id, reason_code } of kept) {
      const reason = expected.get(String(event_id))
      if (reason === undefined) continue
      scene.expect(
        reason_code === reason,
        'I9',
        `the dead letter ${event_id} gives ${reason_code} instead of ${reason}`,
      )
    }
    const others = kept.filter(({ event_id }) => !expected.has(String(event_id))).length
    scene.expect(others <= more, 'I9', `${others} other dead letters, at most ${more} were expected`)
    const after = (await scene.bridge.status())?.counters.reconnects
    scene.bound('I8', 'new sessions', (after?.source ?? 0) - (before?.source ?? 0), 0)
    if (!mayClose) scene.bound('I8', 'new connections to the broker', (after?.sink ?? 0) - (before?.sink ?? 0), 0)
  }
}
