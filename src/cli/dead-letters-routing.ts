import type { Client } from 'pg'
import { parseTableName } from '../base/sql.ts'
import type { LoadedConfig } from '../config/load.ts'
import type { Rerouting } from '../dead-letter/publish-again.ts'
import { destinationOf, redirect } from '../replay/destination.ts'
import { type ReplayRecord, readReplay } from '../replay/replay-record.ts'
import { resolveColumns } from '../routing/column-map.ts'
import { createRouting } from '../routing/message.ts'
import type { Routing } from '../routing/routing.ts'

/**
 * What the present configuration makes of rows that were no message at first. A row that a replay met keeps to where that
 * replay was sent, and to its header: other consumers did not ask for it. Errors are those of the client.
 */
export async function reroutingFor(client: Client, slot: string, loaded: LoadedConfig): Promise<Rerouting> {
  const live = routingOf(loaded, undefined)
  const replays = new Map<string, Routing>()
  for (const record of await replaysWithRows(client, slot)) {
    const routing = routingOf(loaded, record)
    const destination = destinationOf(record.request)
    replays.set(record.id, { route: (row) => redirect(routing.route(row), destination) })
  }
  return {
    table: parseTableName(loaded.config.source.table),
    route: (row, replayId) => ((replayId === null ? undefined : replays.get(replayId)) ?? live).route(row),
  }
}

/** Those with dead letters that are no message yet. */
async function replaysWithRows(client: Client, slot: string): Promise<ReplayRecord[]> {
  const text = `SELECT DISTINCT replay_id AS id FROM wal2rabbit.dead_letter
    WHERE slot = $1 AND replay_id IS NOT NULL AND properties IS NULL`
  const records: ReplayRecord[] = []
  for (const { id } of (await client.query<{ id: string }>({ text, values: [slot] })).rows) {
    const record = await readReplay(client, slot, id)
    if (record !== undefined) records.push(record)
  }
  return records
}

function routingOf({ config }: LoadedConfig, replay: ReplayRecord | undefined): Routing {
  return createRouting({
    columns: resolveColumns(config.source.columns),
    exchange: config.sink.exchange,
    routingKey: config.sink.routingKey,
    routes: config.routes,
    unroutable: 'dead-letter',
    maxMessageSize: config.sink.maxMessageSize,
    replayId: replay?.id,
    positions: replay === undefined || replay.plan.source === 'wal' ? 'known' : 'unknown',
  })
}
