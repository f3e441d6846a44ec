-- wal2rabbit bookkeeping, version 2: dead letters are written from here on. Immutable: a change comes as a new numbered
-- file. Applied by "wal2rabbit init".

-- A dead letter is never refused for its content. Indexes hold no text of the application, as a key of over 2,704 bytes
-- cannot be indexed; they hold its SHA-256 in hexadecimal instead.
ALTER TABLE wal2rabbit.dead_letter
  -- Of the event id; empty where the row gave none.
  ADD COLUMN event_key      text NOT NULL DEFAULT '',
  -- Of aggregate type and aggregate id; NULL where the row does not name both.
  ADD COLUMN aggregate_key  text,
  -- The columns of the row in their order, with the type of each: with row_columns and body, the row can be made again.
  ADD COLUMN row_shape      json;

UPDATE wal2rabbit.dead_letter SET
  event_key = CASE WHEN event_id = '' THEN '' ELSE encode(sha256(convert_to(event_id, 'UTF8')), 'hex') END,
  aggregate_key = CASE WHEN aggregate_type <> '' AND aggregate_id <> '' THEN
    encode(sha256(convert_to(octet_length(convert_to(aggregate_type, 'UTF8')) || ':' || aggregate_type || aggregate_id, 'UTF8')), 'hex') END;

-- Bodies are written in a hurry and read rarely: not worth the time to compress them.
ALTER TABLE wal2rabbit.dead_letter ALTER COLUMN body SET STORAGE EXTERNAL;

ALTER TABLE wal2rabbit.dead_letter DROP CONSTRAINT dead_letter_slot_commit_lsn_ordinal_event_id_key;
DROP INDEX wal2rabbit.dead_letter_aggregate;

-- The event id belongs to it: after a restore, other events come to lie at the same LSNs.
CREATE UNIQUE INDEX dead_letter_event
  ON wal2rabbit.dead_letter (slot, commit_lsn, ordinal, event_key, coalesce(replay_id, ''));
CREATE INDEX dead_letter_aggregate ON wal2rabbit.dead_letter (slot, aggregate_key, commit_lsn, ordinal, id)
  WHERE aggregate_key IS NOT NULL;

-- Aggregates whose events are parked behind a dead letter (deadLetter.scope: aggregate). The bridge parks an event only
-- while it holds a lock on this row; who delivers or discards the last dead letter of the aggregate deletes it, after
-- locking it FOR UPDATE and looking again. So no event overtakes another, and the bridge need not be told.
CREATE TABLE wal2rabbit.parked_aggregate (
  slot             text        NOT NULL,
  aggregate_key    text        NOT NULL,
  aggregate_type   text        NOT NULL,
  aggregate_id     text        NOT NULL,
  -- The event that could not be delivered, for messages.
  behind_event_id  text        NOT NULL,
  parked_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (slot, aggregate_key)
);

-- What became of dead letters that are gone, and who saw to it.
CREATE TABLE wal2rabbit.dead_letter_audit (
  id               bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  done_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- user@host of the command, and the role of its connection.
  done_by          text        NOT NULL,
  role             text        NOT NULL DEFAULT session_user,
  action           text        NOT NULL CHECK (action IN ('delivered', 'discarded')),
  slot             text        NOT NULL,
  commit_lsn       pg_lsn      NOT NULL,
  ordinal          bigint      NOT NULL,
  event_id         text        NOT NULL,
  aggregate_type   text        NOT NULL,
  aggregate_id     text        NOT NULL,
  type             text        NOT NULL,
  reason_code      text        NOT NULL,
  reason_text      text        NOT NULL,
  attempts         bigint      NOT NULL,
  first_failed_at  timestamptz NOT NULL,
  replay_id        text
);
CREATE INDEX dead_letter_audit_done_at ON wal2rabbit.dead_letter_audit (slot, done_at);
