import { parseLsn } from '../base/lsn.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import type { AnchorServer } from '../replay/anchor-keeper.ts'
import { anchorTime } from '../replay/anchor-name.ts'
import type { WindowFacts } from '../replay/replay-window.ts'
import { copySlot, dropSlot } from '../source/slot.ts'
import { type ControlOptions, connectControl, endControl } from './connect.ts'
import { listReplaySlots } from './replay-slots.ts'
import { snapshotRefresh } from './snapshot-refresh.ts'

const serverSql = `SELECT clock_timestamp() AS now,
  CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_replay_lsn(), '0/0') ELSE pg_current_wal_lsn() END::text AS wal_end`

/** The anchors of `slot`, over a connection of their own. Rejects with a BridgeError. */
export async function connectAnchorServer(options: ControlOptions, slot: string): Promise<AnchorServer> {
  const client = await connectControl(options)
  const refresh = snapshotRefresh(client, options.statementTimeout)
  return {
    look: () => readWindowFacts(client, slot),
    create: (name) => copySlot(client, slot, name),
    drop: (name) => dropSlot(client, name),
    async refresh() {
      await refresh()
    },
    close: () => endControl(client),
  }
}

/** The live slot and its anchors, and then the WAL end, so that none of them lies beyond it. Errors are those of the client. */
export async function readWindowFacts(client: PostgresClient, slot: string): Promise<WindowFacts> {
  const slots = await listReplaySlots(client, slot)
  const row = (await client.query({ text: serverSql })).rows[0]!
  return {
    now: row.now as Date,
    walEnd: parseLsn(String(row.wal_end)),
    live: slots.find(({ name }) => name === slot),
    anchors: slots.flatMap((one) => {
      const madeAt = anchorTime(slot, one.name)
      return madeAt === undefined ? [] : [{ ...one, madeAt }]
    }),
  }
}
