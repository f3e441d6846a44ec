-- The least that the role of "wal2rabbit run" needs. Run it by hand as an administrator, after "wal2rabbit init".
-- The role owns nothing. "wal2rabbit init" itself is run as the owner of the outbox table, or as another role that may
-- create objects in the database.
--
-- pg_hba.conf: a logical replication connection names the database itself; the word "replication" in the database column
-- stands for physical replication only. REPLICATION alone would also allow a copy of the whole cluster, so refuse that:
--   host     replication  wal2rabbit  all         reject
--   hostssl  shop         wal2rabbit  10.0.0.0/8  scram-sha-256
--
-- Be aware of what REPLICATION means: such a role can read the changes of every table of the database through a slot of
-- its own, without any grant on them.

-- Set the password with \password wal2rabbit in psql, so that it reaches neither a log nor a shell history.
CREATE ROLE wal2rabbit LOGIN REPLICATION;

DO $$ BEGIN EXECUTE format('GRANT CONNECT ON DATABASE %I TO wal2rabbit', current_database()); END $$;

-- The bookkeeping. DELETE is for the retention of checkpoint_history and for dead letters that are cleared away.
GRANT USAGE ON SCHEMA wal2rabbit TO wal2rabbit;
GRANT SELECT ON wal2rabbit.schema_migration TO wal2rabbit;
GRANT SELECT, UPDATE ON wal2rabbit.checkpoint TO wal2rabbit;
GRANT SELECT, INSERT, UPDATE, DELETE ON wal2rabbit.checkpoint_history, wal2rabbit.dead_letter,
  wal2rabbit.parked_aggregate TO wal2rabbit;
-- Lines of the audit are added and read, never changed.
GRANT SELECT, INSERT ON wal2rabbit.dead_letter_audit TO wal2rabbit;

-- Replays and backfills are recorded; the bridge looks whether a rewind is unfinished. "wal2rabbit rewind" writes there, and
-- needs nothing beyond what is granted here: REPLICATION allows it to copy and drop slots.
GRANT SELECT, INSERT, UPDATE ON wal2rabbit.replay, wal2rabbit.outbox_retention TO wal2rabbit;
GRANT SELECT, INSERT, UPDATE, DELETE ON wal2rabbit.rewind TO wal2rabbit;

-- The bridge looks at the table in its publication before and while it streams.
GRANT USAGE ON SCHEMA public TO wal2rabbit;
-- Not needed for streaming: for a replay or a backfill from the table.
GRANT SELECT ON public.outbox TO wal2rabbit;
-- Only for outbox.retention. Partitions can be dropped by the owner of the table alone.
--   GRANT DELETE ON public.outbox TO wal2rabbit;
