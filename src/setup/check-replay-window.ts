import type { PostgresClient } from '../base/postgres-client.ts'
import { formatDuration, formatSize } from '../config/units.ts'
import { anchorName, anchorPrefix } from '../replay/anchor-name.ts'
import { anchors_max, type ReplayWindowLimits } from '../replay/plan-anchors.ts'
import { readWindowFacts } from './anchor-server.ts'
import { readServerSettings, type ServerSettings } from './check-server.ts'
import { type CheckFinding, good, warning } from './finding.ts'

/** What decides what the replay window costs, and whether it can be had. */
export interface WindowCosts {
  readonly slot: string
  readonly window: ReplayWindowLimits
  readonly server: Pick<ServerSettings, 'slots' | 'maxSlotWalKeepSize' | 'idleSlotTimeout'>
  readonly anchors: readonly { readonly name: string; readonly retainedBytes: number }[]
  /** How many transactions ago the oldest was that an anchor keeps dead catalog rows for; undefined without one. */
  readonly catalogAge: number | undefined
}

const name = 'replay window'

/** Errors are those of the client. */
export async function checkReplayWindow(
  client: PostgresClient,
  slot: string,
  window: ReplayWindowLimits,
): Promise<CheckFinding[]> {
  const server = await readServerSettings(client)
  const { anchors, walEnd } = await readWindowFacts(client, slot)
  const text = 'SELECT max(age(catalog_xmin)) AS age FROM pg_replication_slots WHERE slot_name = ANY ($1::text[])'
  const { age } = (await client.query({ text, values: [anchors.map((one) => one.name)] })).rows[0]!
  return windowFindings({
    slot,
    window,
    server,
    anchors: anchors.map((one) => ({
      name: one.name,
      retainedBytes: one.restartLsn === undefined ? 0 : Number(walEnd - one.restartLsn),
    })),
    catalogAge: age === null ? undefined : Number(age),
  })
}

/** Pure: what it costs, and one warning for each thing that may end it early. */
export function windowFindings(costs: WindowCosts): CheckFinding[] {
  const { slot, window, anchors, catalogAge } = costs
  const shown = anchors.map((one) => `${one.name} (retains ${one.retainedBytes} bytes)`).join(', ')
  if (window.time === 0 || window.bytes === 0) {
    if (anchors.length === 0) return [good(name, 'turned off, no anchor slots')]
    const remedy = 'Start the bridge, or drop them with pg_drop_replication_slot().'
    return [warning(name, `turned off, but anchor slots are left over, which "run" removes: ${shown}`, remedy)]
  }
  if (anchorName(slot, new Date()) === undefined) {
    const detail = `the name of slot ${slot} has ${slot.length} characters, expected 41 at most: no anchor slots can be made`
    return [warning(name, detail, 'Use a shorter source.slot, or set replay.window to 0.')]
  }
  const most = formatSize(2 * window.bytes)
  const age = catalogAge === undefined ? '' : `, now ${catalogAge} transactions`
  const summary = [
    `${formatDuration(window.time)} or ${formatSize(window.bytes)}, whichever is reached first`,
    anchors.length > 0 ? `anchor slots ${shown}` : `anchor slots will be named ${anchorPrefix(slot)}<UTC time>`,
    `they keep up to ${most} of WAL on disk, take up to ${anchors_max} slots and one for each replay that runs, hold back the vacuum of system catalogs${age}, and are inactive on purpose: leave them out of alerts on inactive slots`,
  ]
  return [good(name, summary.join('; ')), ...warningsOf(costs)]
}

function warningsOf({ window, server, anchors }: WindowCosts): CheckFinding[] {
  const found: CheckFinding[] = []
  const free = server.slots.limit - server.slots.used
  const wanted = anchors_max - anchors.length + 1
  if (free < wanted) {
    const detail = `${free} of ${server.slots.limit} replication slots are free, the window and a replay take ${wanted} more`
    found.push(warning(name, detail, 'Raise max_replication_slots; without a free slot less can be replayed.'))
  }
  const keeps = server.maxSlotWalKeepSize
  if (keeps !== -1 && keeps * 1024 * 1024 < 2 * window.bytes) {
    const detail = `max_slot_wal_keep_size is ${keeps} MB, less than ${formatSize(2 * window.bytes)}, twice replay.window.bytes: PostgreSQL may invalidate anchors before they are due`
    found.push(warning(name, detail, 'Raise max_slot_wal_keep_size, or lower replay.window.bytes.'))
  }
  const timeout = server.idleSlotTimeout
  if (timeout !== null && timeout > 0) {
    const detail = `idle_replication_slot_timeout is ${timeout} s: PostgreSQL invalidates anchors that are older, as they are always idle`
    found.push(warning(name, detail, 'Set idle_replication_slot_timeout to 0, or longer than replay.window.time.'))
  }
  return found
}
