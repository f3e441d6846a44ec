import type pg from 'pg'
import type { ErrorCode } from '../../src/base/errors.ts'
import { DeadLetterStore, type DeadLetterStoreOptions } from '../../src/dead-letter/dead-letter-store.ts'
import { resolveColumns } from '../../src/routing/column-map.ts'
import { createRouting, type RoutingOptions } from '../../src/routing/message.ts'
import { connectControl, endControl } from '../../src/setup/connect.ts'
import { migrate } from '../../src/setup/migrate.ts'
import { loadMigrations } from '../../src/setup/sql-files.ts'
import type { WindowRow } from '../../src/sink/confirm-window.ts'
import type { Undeliverable } from '../../src/sink/undeliverable.ts'
import { toSourceError } from '../../src/source/failure.ts'
import { outboxRow, type RowOptions, type RowValues } from '../routing/row-fixture.ts'
import { type FreshDatabase, freshDatabase } from '../support/services.ts'

export function routing(changes: Partial<RoutingOptions> = {}) {
  return createRouting({
    columns: resolveColumns('default'),
    exchange: 'outbox',
    routingKey: '{aggregate_type}.{type}',
    routes: [],
    unroutable: 'dead-letter',
    maxMessageSize: 1024 * 1024,
    ...changes,
  })
}

export interface Wish extends RowOptions {
  readonly code?: ErrorCode
  readonly text?: string
  readonly attempts?: number
  readonly maxMessageSize?: number
  readonly exchange?: string
}

/** A row of the default outbox that could not be delivered; refused by routing where routing refuses it. */
export function undeliverable(values: RowValues = {}, wish: Wish = {}): Undeliverable {
  const { code = 'EVENT_UNROUTABLE', text = 'no queue takes it', attempts = 5 } = wish
  const { maxMessageSize = 1024 * 1024, exchange = 'outbox' } = wish
  const input = routing({ maxMessageSize, exchange }).route(outboxRow(values, wish))
  const row: WindowRow = { ...input, seq: 0, bytes: 0, state: 'keeping', attempts, sentAt: 0, returned: false }
  return { row, refusal: input.refusal ?? { code, text } }
}

/** One that waits behind another of its aggregate. */
export function waiting(values: RowValues, wish: Wish = {}): Undeliverable {
  return undeliverable(values, { ...wish, code: 'EVENT_PARKED', text: 'it waits', attempts: 0 })
}

export interface Bookkeeping {
  readonly database: FreshDatabase
  readonly client: pg.Client
  /** A store of slot `shop`. */
  store(changes?: Partial<DeadLetterStoreOptions>): DeadLetterStore
  connect(): Promise<pg.Client>
  closeStores(): Promise<void>
  dispose(): Promise<void>
}

/** A database with the bookkeeping schema and nothing in it. */
export async function bookkeeping(): Promise<Bookkeeping> {
  const database = await freshDatabase('letters')
  const connect = () => connectControl({ url: database.url, applicationName: 'test', statementTimeout: 20_000 })
  const client = await connect()
  await migrate(client, await loadMigrations())
  const stores: DeadLetterStore[] = []
  const closeStores = async () => {
    for (const store of stores.splice(0)) await store.close()
  }
  return {
    database,
    client,
    connect,
    store(changes = {}) {
      const store = new DeadLetterStore({
        slot: 'shop',
        scope: 'event',
        async connect() {
          const own = await connect()
          return { query: (statement) => own.query({ ...statement }), close: () => endControl(own) }
        },
        toError: (error, doing) => toSourceError(error, { doing }),
        ...changes,
      })
      stores.push(store)
      return store
    },
    closeStores,
    async dispose() {
      await closeStores()
      await endControl(client)
      await database.drop()
    },
  }
}
