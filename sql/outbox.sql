-- The outbox table under its default name. "wal2rabbit init" creates it when source.table does not exist; for another
-- name it puts the quoted name in the place of public.outbox. An existing table is never touched.
--
-- Applications insert into it in the transaction of their business change:
--   INSERT INTO public.outbox (aggregate_type, aggregate_id, type, payload)
--   VALUES ('order', '4711', 'OrderPlaced', '{"total": 42}');
-- A row may be deleted again in the same transaction: it is published all the same, and the table stays empty.

CREATE TABLE public.outbox (
  id              uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
  aggregate_type  text        NOT NULL,
  aggregate_id    text        NOT NULL,
  type            text        NOT NULL,
  payload         jsonb,
  headers         jsonb       NOT NULL DEFAULT '{}',
  created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- Which transaction wrote the row: a replay from the table compares it with the snapshot of a stored LSN.
  transaction_id  xid8        NOT NULL DEFAULT pg_current_xact_id()
);
