import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import {
  freePort,
  type PostgresService,
  type RabbitService,
  startPostgres,
  startRabbit,
} from '../test/support/services.ts'
import { poll, storedLsn, untilReady, untilStored } from './admin-client.ts'
import { balanceOf } from './balance.ts'
import { BridgeProcess } from './bridge-process.ts'
import { Consumer } from './consumer.ts'
import { aside, say, showBalance, showEvent, stage } from './screen.ts'
import { Shop } from './shop.ts'
import type { Teardown } from './teardown.ts'

export interface DemoOptions {
  readonly keep: boolean
  /** An empty folder for the processes of the bridge to run in. */
  readonly folder: string
  readonly teardown: Teardown
  /** Ends the demo wherever it is. */
  readonly signal: AbortSignal
}

const queue = 'shop.events'
const ordersBefore = 24
const ordersAfter = 16
const pace_ms = 200
const readyBound_ms = 30_000
const deliveryBound_ms = 30_000
const storeBound_ms = 10_000

/** The whole demo, from top to bottom. Resolves with the exit code: 0 only when the balance is right. */
export async function runDemo(options: DemoOptions): Promise<number> {
  const { teardown, signal } = options
  const interrupted = once(signal, 'abort').then((): never => {
    throw new Error('interrupted')
  })
  interrupted.catch(() => undefined) // raced below; it may come when nothing waits
  const unlessInterrupted = <T>(step: Promise<T>) => Promise.race([step, interrupted])

  stage('starting PostgreSQL and RabbitMQ, private ones')
  const [postgres, rabbit] = await unlessInterrupted(startServices(teardown))
  const url = await createDatabase(postgres)
  const admin = `http://127.0.0.1:${await freePort()}`
  const settings = {
    WAL2RABBIT_SOURCE_URL: url,
    WAL2RABBIT_SINK_URL: rabbit.url,
    WAL2RABBIT_ADMIN_PORT: new URL(admin).port,
  }

  stage('wal2rabbit init: outbox table, publication, slot, exchange')
  const init = new BridgeProcess('init', settings, options.folder)
  teardown.add(() => init.stop())
  await unlessInterrupted(init.succeeded())
  const consumer = await unlessInterrupted(Consumer.start(rabbit.url, 'outbox', queue, showEvent))
  teardown.add(() => consumer.stop())

  stage(`wal2rabbit run: ${admin}`)
  const bridge = new BridgeProcess('run', settings, options.folder)
  teardown.add(() => bridge.stop())
  const died = bridge.died()
  died.catch(() => undefined)
  const step = <T>(work: Promise<T>) => Promise.race([work, died, interrupted])
  await step(untilReady(admin, readyBound_ms))

  const shop = await step(Shop.open(url))
  teardown.add(() => shop.close())
  stage('the shop is open: time, routing key, id, wal-lsn#ordinal, commit to arrival')
  await step(trade(shop, () => shop.orders >= ordersBefore, signal))
  stage('RabbitMQ is restarted, orders go on')
  await step(tradeThroughRestart(shop, rabbit, signal))
  stage('RabbitMQ is back')
  const goal = shop.orders + ordersAfter
  await step(trade(shop, () => shop.orders >= goal, signal))

  stage('the shop is closed: waiting for the last event')
  await step(settle(shop, consumer, admin))
  const stored = await step(storedLsn(admin))
  const balance = balanceOf(shop.ledger, consumer.arrivals, stored)
  stage('balance')
  showBalance(balance, stored)

  if (options.keep) await stayUp({ url, amqp: rabbit.url, admin }, died, signal)
  stage('SIGTERM to the bridge')
  const exit = await bridge.stop()
  const stopped = exit.code === 0
  say(
    stopped
      ? 'It drained and ended with exit code 0.'
      : `It ended with ${exit.signal ?? `exit code ${exit.code}`}:\n${bridge.output}`,
  )
  return balance.right && stopped ? 0 : 1
}

async function startServices(teardown: Teardown): Promise<[PostgresService, RabbitService]> {
  const disposable = async <S extends { dispose(): Promise<void> }>(starting: Promise<S>) => {
    const service = await starting
    teardown.add(() => service.dispose())
    return service
  }
  return Promise.all([disposable(startPostgres()), disposable(startRabbit())])
}

async function createDatabase(postgres: PostgresService): Promise<string> {
  const client = new pg.Client({ connectionString: postgres.url })
  await client.connect()
  await client.query('CREATE DATABASE shop')
  await client.end()
  return postgres.urlFor('shop')
}

async function trade(shop: Shop, enough: () => boolean, signal: AbortSignal, show = false): Promise<void> {
  while (!enough()) {
    const what = await shop.trade()
    if (show) aside(what)
    await delay(pace_ms, undefined, { signal })
  }
}

async function tradeThroughRestart(shop: Shop, rabbit: RabbitService, signal: AbortSignal): Promise<void> {
  let back = false
  const restart = rabbit.restart().finally(() => {
    back = true
  })
  await Promise.all([restart, trade(shop, () => back, signal, true)])
}

/** Waits for the last event and for the checkpoint behind it. What does not come in time is for the balance to tell. */
async function settle(shop: Shop, consumer: Consumer, admin: string): Promise<void> {
  const { committed } = shop.ledger
  const missing = () => committed.filter((id) => !consumer.ids.has(id)).length
  try {
    await poll(
      deliveryBound_ms,
      'the last event',
      () => `${missing()} missing`,
      () => missing() === 0,
    )
    await untilStored(admin, consumer.arrivals.at(-1)?.lsn ?? '0/0', storeBound_ms)
  } catch (error) {
    say(error instanceof Error ? error.message : String(error))
  }
}

async function stayUp(
  at: { readonly url: string; readonly amqp: string; readonly admin: string },
  died: Promise<never>,
  signal: AbortSignal,
): Promise<void> {
  stage('still up; Ctrl-C ends it')
  say(`  psql '${at.url}'`)
  say(`  ${at.amqp} (queue ${queue})`)
  for (const page of ['/api/status', '/readyz', '/metrics']) say(`  ${at.admin}${page}`)
  say('  an event:')
  say(
    `    INSERT INTO outbox (aggregate_type, aggregate_id, type, payload) VALUES ('order', '1', 'Hello', '{"a": 1}');`,
  )
  if (!signal.aborted) await Promise.race([once(signal, 'abort'), died])
}
