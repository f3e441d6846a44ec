-- wal2rabbit bookkeeping, version 3: replay, rewind, backfill and retention of the outbox table. Immutable: a change comes
-- as a new numbered file. Applied by "wal2rabbit init".

-- A mark is a place to go back to: its name stands for one stored LSN.
CREATE UNIQUE INDEX checkpoint_history_mark ON wal2rabbit.checkpoint_history (slot, name) WHERE kind = 'mark';
-- A replay from the table looks for the youngest snapshot that sees nothing above its start.
CREATE INDEX checkpoint_history_snapshot ON wal2rabbit.checkpoint_history (slot, snapshot_wal_end);

-- Replays and backfills: who asked for what, and how far it has come. A crash leaves "running" behind; it goes on from
-- the position of its row.
CREATE TABLE wal2rabbit.replay (
  -- The header wal-replay of its messages, and replay_id of its dead letters.
  id                  text        PRIMARY KEY,
  slot                text        NOT NULL,
  kind                text        NOT NULL CHECK (kind IN ('replay', 'backfill')),
  source              text        NOT NULL CHECK (source IN ('wal', 'table')),
  state               text        NOT NULL DEFAULT 'running'
                      CHECK (state IN ('running', 'done', 'stopped', 'failed', 'abandoned')),
  -- user@host of the command, and the role of its connection.
  started_by          text        NOT NULL,
  role                text        NOT NULL DEFAULT session_user,
  started_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
  updated_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
  finished_at         timestamptz,
  -- What was asked for, as it was written: from, to, where, exchange, routing key, queue, rate.
  request             json        NOT NULL,
  -- What it came to. WAL: transactions whose commit record starts at from_lsn or above and below to_lsn.
  from_lsn            pg_lsn      NOT NULL,
  -- Rows of the transaction at from_lsn that lie before the start.
  from_rows           bigint      NOT NULL DEFAULT 0,
  to_lsn              pg_lsn      NOT NULL,
  -- Rows of the transaction at to_lsn that still belong to the range.
  to_rows             bigint      NOT NULL DEFAULT 0,
  -- For a time: only transactions that committed at committed_from or later, and before committed_to.
  committed_from      timestamptz,
  committed_to        timestamptz,
  -- Table: rows that from_snapshot does not see, and that to_snapshot sees.
  from_snapshot       pg_snapshot,
  to_snapshot         pg_snapshot,
  -- The cluster and the timeline of these LSNs.
  system_identifier   text        NOT NULL,
  timeline            bigint      NOT NULL,
  -- How far it has come: all below is settled. WAL: as in wal2rabbit.checkpoint. Table: the sort key of the last row.
  lsn                 pg_lsn      NOT NULL,
  partial_commit_lsn  pg_lsn,
  partial_rows        bigint,
  table_key           text,
  -- Rows that came in, that passed the filter, that the broker confirmed, that became dead letters, and that were dropped.
  rows_read           bigint      NOT NULL DEFAULT 0,
  rows_matched        bigint      NOT NULL DEFAULT 0,
  events_published    bigint      NOT NULL DEFAULT 0,
  events_dead         bigint      NOT NULL DEFAULT 0,
  events_dropped      bigint      NOT NULL DEFAULT 0,
  -- Why it failed.
  error_code          text,
  error_text          text
);
CREATE INDEX replay_slot ON wal2rabbit.replay (slot, started_at);

-- A rewind that is not finished: the live slot is being replaced, and no bridge may start until it is done.
CREATE TABLE wal2rabbit.rewind (
  slot                text        PRIMARY KEY,
  target_lsn          pg_lsn      NOT NULL,
  -- Inside the transaction at target_lsn: as in wal2rabbit.checkpoint.
  target_commit_lsn   pg_lsn,
  target_rows         bigint      CHECK (target_rows > 0),
  -- The stored position before, for "rewind --abort".
  from_lsn            pg_lsn      NOT NULL,
  from_commit_lsn     pg_lsn,
  from_rows           bigint      CHECK (from_rows > 0),
  -- The slot that reached back to target_lsn when it began.
  base_slot           text        NOT NULL,
  -- The live slot had it, and no copy does: it is put back. PostgreSQL 17 and newer.
  failover            boolean     NOT NULL DEFAULT false,
  started_by          text        NOT NULL,
  started_at          timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Up to where rows of an outbox table were deleted by outbox.retention.
CREATE TABLE wal2rabbit.outbox_retention (
  -- schema.table, quoted where needed.
  table_name          text        PRIMARY KEY,
  -- Every deleted row committed below it: a replay from the table reaches back to here.
  floor_lsn           pg_lsn      NOT NULL,
  system_identifier   text        NOT NULL,
  timeline            bigint      NOT NULL,
  rows_deleted        bigint      NOT NULL DEFAULT 0,
  partitions_dropped  bigint      NOT NULL DEFAULT 0,
  updated_at          timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Rows of transactions with an id below it may never have been streamed by this slot: they are older than the slot or its
-- publication, or lie in a gap that was accepted. outbox.retention leaves them alone. NULL: all were streamed, or published by a backfill.
ALTER TABLE wal2rabbit.checkpoint ADD unstreamed_below xid8;
-- Of slots that are there already the oldest entry tells, or that of the last gap: its own transaction began after the slot
-- was made. Marks do not count, as they outlive the entries around them.
UPDATE wal2rabbit.checkpoint c SET unstreamed_below = coalesce((
  SELECT (next.id - ((next.id - h.xmin::text::bigint) & 4294967295))::text::xid8
  FROM wal2rabbit.checkpoint_history h, (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS id) next
  WHERE h.slot = c.slot AND (h.kind = 'gap' OR h.id = (
    SELECT min(o.id) FROM wal2rabbit.checkpoint_history o WHERE o.slot = c.slot AND o.kind <> 'mark'))
  ORDER BY h.id DESC LIMIT 1), pg_current_xact_id());
