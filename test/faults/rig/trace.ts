import { parseLsn } from '../../../src/base/lsn.ts'
import type { CheckpointChange } from '../checkers/history.ts'
import type { Query } from './witness.ts'

/** Notes each change of the checkpoint row in the transaction that makes it: no poll is fast enough for "version by version". */
export async function installTrace(query: Query): Promise<void> {
  await query('CREATE SCHEMA rig')
  await query(`CREATE TABLE rig.trace (
    n bigint GENERATED ALWAYS AS IDENTITY, at timestamptz DEFAULT clock_timestamp(), slot text, version bigint,
    epoch bigint, lsn pg_lsn, partial_commit_lsn pg_lsn, partial_rows bigint)`)
  await query(`CREATE FUNCTION rig.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
      INSERT INTO rig.trace (slot, version, epoch, lsn, partial_commit_lsn, partial_rows)
      VALUES (NEW.slot, NEW.version, NEW.epoch, NEW.lsn, NEW.partial_commit_lsn, NEW.partial_rows);
      RETURN NULL;
    END $$`)
  await query(`CREATE TRIGGER rig_note AFTER INSERT OR UPDATE ON wal2rabbit.checkpoint
    FOR EACH ROW EXECUTE FUNCTION rig.note()`)
}

export async function readTrace(query: Query, slot: string): Promise<CheckpointChange[]> {
  const rows = await query(
    `SELECT extract(epoch FROM at) * 1000 AS at, version::text, epoch::text, lsn::text,
       partial_commit_lsn::text, partial_rows::text
     FROM rig.trace WHERE slot = $1 ORDER BY n`,
    [slot],
  )
  return rows.map((row) => ({
    at: Number(row.at),
    version: BigInt(String(row.version)),
    epoch: BigInt(String(row.epoch)),
    stored: {
      lsn: parseLsn(String(row.lsn)),
      partial:
        row.partial_commit_lsn === null
          ? null
          : { commitLsn: parseLsn(String(row.partial_commit_lsn)), rows: Number(row.partial_rows) },
    },
  }))
}
