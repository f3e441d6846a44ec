import { afterEach } from 'vitest'
import { clientConfigFromUrl } from '../../src/base/postgres-url.ts'
import { type ColumnSetting, resolveColumns } from '../../src/routing/column-map.ts'
import { inspectReadableTable } from '../../src/setup/readable-table.ts'
import type { ReadableTable } from '../../src/source/table-order.ts'
import type { TableRange } from '../../src/source/table-query.ts'
import { TableSource, type TableSourceOptions } from '../../src/source/table-source.ts'
import { fromSlot, openStage, SourceReader, type SourceStage, type StageOptions } from './source-stage.ts'

/** What the outbox that `init` makes has, with a payload of any type. */
export const outboxColumns = `id int PRIMARY KEY, aggregate_type text NOT NULL DEFAULT 'order',
  aggregate_id text NOT NULL DEFAULT '1', type text NOT NULL DEFAULT 'placed', payload text, headers jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(), transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id()`

export const standIn: TableSourceOptions['position'] = { commitLsn: 0x16_0000_0010n, commitLsnText: '16/10' }

/** A source stage whose table can be read, too. */
export interface TableStage extends SourceStage {
  readable(columns?: ColumnSetting): Promise<ReadableTable>
  /** A source that is made but not started. */
  makeTable(range?: TableRange, options?: Partial<TableSourceOptions>): Promise<SourceReader<TableSource>>
  /** Reads all of the range; resolves after the commit mark. */
  readTable(range?: TableRange, options?: Partial<TableSourceOptions>): Promise<SourceReader<TableSource>>
  /** pg_current_snapshot() as a replay would store it. */
  snapshot(): Promise<string>
}

/** Opens stages that are closed after each test. */
export function tableStages(): (options?: StageOptions & { readonly map?: ColumnSetting }) => Promise<TableStage> {
  let closing: (() => Promise<void>)[] = []
  afterEach(async () => {
    for (const close of closing.toReversed()) await close()
    closing = []
  })
  return async ({ map = {}, ...options } = {}) => {
    const stage = await openStage({ columns: outboxColumns, ...options })
    closing.push(stage.close)
    const readable = (columns: ColumnSetting = map) =>
      inspectReadableTable(stage.client, {
        table: { schema: 'public', name: 'outbox' },
        columns: resolveColumns(columns),
        plugin: options.plugin ?? 'pgoutput',
        publication: 'the pub',
      })
    const makeTable: TableStage['makeTable'] = async (range = {}, more = {}) => {
      const connection = clientConfigFromUrl(stage.url)
      const table = more.table ?? (await readable())
      const reader = new SourceReader(new TableSource({ connection, range, position: standIn, ...more, table }))
      closing.push(() => reader.source.stop())
      return reader
    }
    return {
      ...stage,
      readable,
      makeTable,
      async readTable(range, more) {
        const reader = await makeTable(range, more)
        await reader.start(fromSlot)
        reader.source.resume()
        await reader.until(() => reader.events.some(({ kind }) => kind === 'commit') || reader.ends.length > 0)
        if (reader.ends[0] !== undefined) throw reader.ends[0]
        return reader
      },
      async snapshot() {
        const { rows } = await stage.client.query<{ snapshot: string }>(
          'SELECT pg_current_snapshot()::text AS snapshot',
        )
        return rows[0]!.snapshot
      },
    }
  }
}
