-- The outbox table, partitioned by day, for outboxes whose rows are kept for a while: dropping a partition costs next to
-- nothing, where DELETE leaves bloat behind. Run it by hand, before "wal2rabbit init", in place of sql/outbox.sql.
--
-- The publication must publish the parent: publish_via_partition_root = true, which is how "wal2rabbit init" creates it.
-- Without it PostgreSQL streams the rows under the names of the partitions, and "wal2rabbit check" says so.
--
-- Never change created_at of a row: an UPDATE that moves it to another partition is an INSERT in the WAL, and the event is
-- published again.

CREATE TABLE public.outbox (
  id              uuid        NOT NULL DEFAULT gen_random_uuid(),
  aggregate_type  text        NOT NULL,
  aggregate_id    text        NOT NULL,
  type            text        NOT NULL,
  payload         jsonb,
  headers         jsonb       NOT NULL DEFAULT '{}',
  created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  transaction_id  xid8        NOT NULL DEFAULT pg_current_xact_id(),
  -- A primary key of a partitioned table has to contain the partition key.
  PRIMARY KEY (id, created_at)
) PARTITION BY RANGE (created_at);

-- Takes the rows of days for which nobody made a partition, so that no business transaction ever fails on it. Keep it
-- empty: a partition cannot be added for a range of which the default partition already holds rows.
CREATE TABLE public.outbox_default PARTITION OF public.outbox DEFAULT;

-- Add partitions ahead of time, from a scheduled job:
--   CREATE TABLE public.outbox_20260101 PARTITION OF public.outbox
--     FOR VALUES FROM ('2026-01-01 00:00:00+00') TO ('2026-01-02 00:00:00+00');
--
-- outbox.retention drops them when the role of the bridge owns them. Or drop them when neither consumers nor replays from
-- the table need them any more; it takes a short exclusive lock. Events not yet sent are not lost by that: they come from
-- the WAL, not from the table.
--   DROP TABLE public.outbox_20260101;
