import { type Channel, connect, type GetMessage } from 'amqplib'
import { redactUrls } from '../../src/base/secrets.ts'
import type { CliContext } from '../../src/cli/context.ts'
import { runProgram } from '../../src/cli/program.ts'
import type { Undeliverable } from '../../src/sink/undeliverable.ts'
import { temporaryFolder } from '../config/fixture.ts'
import { type Bookkeeping, bookkeeping, undeliverable, type Wish, waiting } from '../dead-letter/fixture.ts'
import type { RowValues } from '../routing/row-fixture.ts'
import { sharedRabbit, uniqueName } from '../support/services.ts'

/** The part of the JSON that tests look into by name. */
export interface ListedJson {
  readonly attempts: number
  readonly reason: { readonly code: string; readonly text: string }
}

export interface ShownJson extends ListedJson {
  readonly body: { readonly encoding: 'base64'; readonly data: string }
}

/** Dead letters of slot `shop` in a database of their own, an exchange and a queue that is not bound to it yet. */
export interface DeadLettersStage {
  readonly books: Bookkeeping
  readonly channel: Channel
  readonly exchange: string
  readonly queue: string
  readonly env: Record<string, string>
  bind(key?: string): Promise<void>
  /** Message ids in the queue, which is then empty. */
  drain(): Promise<GetMessage[]>
  ids(): Promise<string[]>
  /** Called with each text that a command prints on either stream. */
  onPrinted: (text: string) => void
  /** Runs `dead-letters …` in this process. */
  run(...args: string[]): Promise<{ code: number; out: string; err: string }>
  list(...args: string[]): Promise<{ total: number; deadLetters: ListedJson[] }>
  show(...args: string[]): Promise<ShownJson[]>
  /** An event to the exchange of this stage, as a culprit and as one that waits. */
  culprit(values?: RowValues, wish?: Wish): Undeliverable
  waits(values: RowValues, wish?: Wish): Undeliverable
  audit(): Promise<string[]>
  left(): Promise<string[]>
  parked(): Promise<number>
  reset(): Promise<void>
  dispose(): Promise<void>
}

export async function deadLettersStage(): Promise<DeadLettersStage> {
  const books = await bookkeeping()
  const { url } = sharedRabbit()
  const connection = await connect(url)
  const channel = await connection.createChannel()
  const exchange = uniqueName('letters')
  const queue = uniqueName('letters')
  await channel.assertExchange(exchange, 'topic', { durable: true })
  await channel.assertQueue(queue, { durable: true })
  const env = {
    WAL2RABBIT_SOURCE_URL: books.database.url,
    WAL2RABBIT_SOURCE_SLOT: 'shop',
    WAL2RABBIT_SINK_URL: url,
    WAL2RABBIT_SINK_EXCHANGE: exchange,
  }
  const run: DeadLettersStage['run'] = async (...args) => {
    const printed = { out: '', err: '' }
    const print = (where: 'out' | 'err', text: string) => {
      printed[where] += text
      stage.onPrinted(text)
    }
    const context: CliContext = {
      env,
      cwd: await temporaryFolder(),
      stdout: { write: (text) => print('out', text) },
      stderr: { write: (text) => print('err', text) },
      scrub: redactUrls,
      log: undefined,
      tune: () => undefined,
    }
    return { code: await runProgram(['dead-letters', ...args], context), ...printed }
  }
  const drain = async () => {
    const messages: GetMessage[] = []
    for (let m = await channel.get(queue, { noAck: true }); m !== false; m = await channel.get(queue, { noAck: true }))
      messages.push(m)
    return messages
  }
  const rows = async (sql: string) => (await books.client.query(sql)).rows
  const stage: DeadLettersStage = {
    books,
    channel,
    exchange,
    queue,
    env,
    bind: async (key = '#') => void (await channel.bindQueue(queue, exchange, key)),
    drain,
    onPrinted() {},
    ids: async () => (await drain()).map(({ properties }) => String(properties.messageId)),
    run,
    list: async (...args) => JSON.parse((await run('list', ...args, '--json')).out),
    show: async (...args) => JSON.parse((await run('show', ...args, '--json')).out),
    culprit: (values, wish) => undeliverable(values, { ...wish, exchange }),
    waits: (values, wish) => waiting(values, { ...wish, exchange }),
    audit: async () =>
      (await rows('SELECT action, event_id, reason_code FROM wal2rabbit.dead_letter_audit ORDER BY id')).map(
        ({ action, event_id, reason_code }) => `${action} ${event_id} ${reason_code}`,
      ),
    left: async () =>
      (await rows('SELECT event_id FROM wal2rabbit.dead_letter ORDER BY commit_lsn, ordinal')).map((r) => r.event_id),
    parked: async () => (await rows('SELECT count(*)::int AS n FROM wal2rabbit.parked_aggregate'))[0].n,
    async reset() {
      stage.onPrinted = () => {}
      await books.closeStores()
      await books.client.query(
        'TRUNCATE wal2rabbit.dead_letter, wal2rabbit.parked_aggregate, wal2rabbit.dead_letter_audit',
      )
      await channel.unbindQueue(queue, exchange, '#')
      await channel.purgeQueue(queue)
    },
    async dispose() {
      await channel.deleteQueue(queue)
      await channel.deleteExchange(exchange)
      await connection.close()
      await books.dispose()
    },
  }
  return stage
}
