import type { z } from 'zod'
import { key, section, textValue } from './fields.ts'
import { count, decade, duration, minute, size, word } from './key-kinds.ts'
import { routesValue, unroutableValue } from './routing-fields.ts'
import { sinkSchema } from './sink-schema.ts'
import { sourceSchema } from './source-schema.ts'

/**
 * Every key of the configuration: names, values, defaults, units and help. Env names, docs/configuration.md and the
 * published JSON Schema are made from it. Durations resolve to milliseconds, sizes to bytes.
 */
export const configSchema = section({
  source: sourceSchema,
  sink: sinkSchema,
  routes: key(routesValue.prefault([]), {
    help: 'By `aggregate_type` and `type` (exact, or with `*` and `?`), the first match wins: `exchange`, `routingKey`, `headers`, `unroutable`.',
    unit: 'list',
    form: 'yaml',
  }),
  delivery: section({
    order: word(
      ['commit', 'aggregate'],
      'commit',
      'What waits when the broker refuses an event. `commit`: nothing more is sent until it is tried again; what was sent already may overtake it. `aggregate`: the next event of an aggregate is never sent before the previous one is settled; other aggregates flow on.',
    ),
    retry: section({
      attempts: count(
        5,
        'Publishes of an event that the broker nacks or returns, before it becomes a dead letter.',
        1,
        1000,
      ),
      initialDelay: duration('200ms', 'Delay before the first of them; doubles each time.', { min: 1 }),
      maxDelay: duration('30s', 'The most that the delay grows to.', { min: 1 }),
    }),
    unroutable: key(unroutableValue.prefault('dead-letter'), {
      help: 'What to do with an event that no queue takes. `dead-letter`: retry, then keep it in `wal2rabbit.dead_letter`. `block`: retry for ever; nothing passes it, or with `delivery.order: aggregate` nothing of its aggregate. `drop`: give it up.',
      unit: 'dead-letter \\| block \\| drop',
      form: 'text',
    }),
  }),
  deadLetter: section({
    scope: word(
      ['event', 'aggregate'],
      'event',
      'What a dead letter holds back. `event`: itself only. `aggregate`: later events of its aggregate are parked behind it, until `dead-letters retry` or `discard` lets them go in order. Needs `delivery.order: aggregate`.',
    ),
  }),
  checkpoint: section({
    interval: duration(
      '200ms',
      'How often the stored LSN is written. A crash repeats at most what was confirmed since.',
      { min: 10, max: minute },
    ),
    historyInterval: duration('10s', 'How often the stored LSN is kept in the history, while events flow.', {
      min: 1000,
    }),
    historyRetention: section({
      time: duration('7d', 'History older than this is deleted.', { min: minute, max: decade }),
      count: count(65_000, 'The most entries kept in the history: a week of one every 10 seconds.', 1, 10_000_000),
    }),
  }),
  replay: section({
    window: section(
      {
        time: duration(
          '24h',
          'How far back `replay` and `rewind` reach in the WAL, by age: anchor slots keep it. 0 removes them.',
          {
            min: minute,
            max: decade,
            zero: true,
          },
        ),
        bytes: size(
          '1GiB',
          'The same by size; the limit reached first counts. WAL kept by anchor slots never exceeds twice of it. 0 removes them.',
          { zero: true },
        ),
      },
      { time: 0, bytes: 0 },
    ),
  }),
  outbox: section({
    retention: duration(
      '0',
      'Rows of the outbox table that are older, and settled, are deleted by the bridge in small batches; whole partitions are dropped. 0: never. Needs DELETE on the table, for partitions its ownership.',
      { min: minute, max: decade, zero: true },
    ),
  }),
  admin: section({
    host: key(textValue(253, 'a host name or address').prefault('127.0.0.1'), {
      help: 'Address of the HTTP server. It has no authentication: keep it on loopback or behind a proxy.',
      unit: 'text',
      form: 'text',
    }),
    port: count(8090, 'Port of the HTTP server; 0 takes any free one.', 0, 65_535),
  }),
  log: section({
    level: word(
      ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
      'info',
      'The least severe level that is logged; debug and trace show stack traces.',
    ),
    format: word(['auto', 'json', 'pretty'], 'auto', '`auto`: pretty on a terminal, else JSON.'),
  }),
  shutdown: section({
    timeout: duration(
      '10s',
      'How long a stop waits for outstanding confirms. Keep it below the grace time of the platform.',
      { max: 60 * minute },
    ),
  }),
})

type DeepReadonly<T> = T extends (infer Item)[]
  ? readonly DeepReadonly<Item>[]
  : T extends object
    ? { readonly [Key in keyof T]: DeepReadonly<T[Key]> }
    : T

/** The configuration as resolved: every duration in milliseconds, every size in bytes. */
export type Config = DeepReadonly<z.output<typeof configSchema>>
