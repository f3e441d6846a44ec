-- wal2rabbit bookkeeping, version 1. Immutable: a change comes as a new numbered file. Applied by "wal2rabbit init".
-- It lives in the database that it describes, on purpose: a restored backup or a promoted stand-by brings its own
-- position along, so the bridge repeats rather than loses.

CREATE SCHEMA IF NOT EXISTS wal2rabbit;
COMMENT ON SCHEMA wal2rabbit IS 'Bookkeeping of the wal2rabbit outbox bridge';

-- Which numbered files have been applied. The checksum catches a file that was edited after it was applied.
CREATE TABLE wal2rabbit.schema_migration (
  version     integer     PRIMARY KEY,
  name        text        NOT NULL,
  checksum    text        NOT NULL,
  applied_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- One row a slot: the stored position. Everything below lsn is confirmed by the broker or kept as a dead letter.
CREATE TABLE wal2rabbit.checkpoint (
  slot                text        PRIMARY KEY,
  -- The stored LSN: the END of a transaction, never the start of a commit record.
  lsn                 pg_lsn      NOT NULL,
  -- Inside the next transaction: where its commit record starts, and how many of its rows are settled.
  partial_commit_lsn  pg_lsn,
  partial_rows        bigint      CHECK (partial_rows > 0),
  -- The cluster and the timeline that lsn belongs to. The identifier is unsigned, hence text.
  system_identifier   text        NOT NULL,
  timeline            bigint      NOT NULL CHECK (timeline > 0),
  -- Counts owners. A store carries the epoch of its claim, so an owner that was replaced cannot store any more.
  epoch               bigint      NOT NULL DEFAULT 0,
  owner               text        NOT NULL DEFAULT '',
  -- Counts every change of the row.
  version             bigint      NOT NULL DEFAULT 1,
  -- Events settled since the row was made.
  events              bigint      NOT NULL DEFAULT 0,
  stored_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
  CHECK ((partial_commit_lsn IS NULL) = (partial_rows IS NULL)),
  CHECK (partial_commit_lsn >= lsn)
);

-- Stored LSNs of the past. snapshot_wal_end was read AFTER the snapshot was taken: all that the snapshot sees committed
-- below it. A replay from the table may start at P only with a snapshot whose snapshot_wal_end is at or below P.
CREATE TABLE wal2rabbit.checkpoint_history (
  id                 bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  slot               text        NOT NULL,
  lsn                pg_lsn      NOT NULL,
  events             bigint      NOT NULL,
  stored_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
  snapshot           pg_snapshot NOT NULL,
  snapshot_wal_end   pg_lsn      NOT NULL,
  kind               text        NOT NULL CHECK (kind IN ('start', 'interval', 'stop', 'mark', 'gap', 'rewind')),
  name               text,
  system_identifier  text        NOT NULL,
  timeline           bigint      NOT NULL
);
CREATE INDEX checkpoint_history_slot_lsn ON wal2rabbit.checkpoint_history (slot, lsn, id);
CREATE INDEX checkpoint_history_slot_stored_at ON wal2rabbit.checkpoint_history (slot, stored_at);

-- Events that could not be delivered, kept whole. properties and row_columns are json, not jsonb: jsonb refuses \u0000
-- and lone surrogates, and a dead letter that cannot be stored would hold up the stream for ever.
CREATE TABLE wal2rabbit.dead_letter (
  id               bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  slot             text        NOT NULL,
  -- The position: where the transaction's commit record starts, and the 0-based number of the row in it.
  commit_lsn       pg_lsn      NOT NULL,
  ordinal          bigint      NOT NULL CHECK (ordinal >= 0),
  committed_at     timestamptz,
  -- The event; empty where the row gave none.
  event_id         text        NOT NULL DEFAULT '',
  aggregate_type   text        NOT NULL DEFAULT '',
  aggregate_id     text        NOT NULL DEFAULT '',
  type             text        NOT NULL DEFAULT '',
  -- The message as it was to be sent; NULL where the row could not be made into one.
  exchange         text,
  routing_key      text,
  properties       json,
  body             bytea,
  -- The row's columns as text, by column name.
  row_columns      json,
  reason_code      text        NOT NULL,
  reason_text      text        NOT NULL,
  attempts         bigint      NOT NULL DEFAULT 0,
  first_failed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  last_failed_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  state            text        NOT NULL DEFAULT 'parked'
                   CHECK (state IN ('parked', 'retrying', 'delivered', 'discarded')),
  -- The replay that met the failure; NULL for the live stream.
  replay_id        text,
  -- The event id belongs to it: after a restore, other events come to lie at the same LSNs.
  UNIQUE (slot, commit_lsn, ordinal, event_id)
);
CREATE INDEX dead_letter_state ON wal2rabbit.dead_letter (slot, state, id);
CREATE INDEX dead_letter_aggregate ON wal2rabbit.dead_letter (aggregate_type, aggregate_id)
  WHERE state IN ('parked', 'retrying');
