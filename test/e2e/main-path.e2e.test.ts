import { expect, onTestFinished, test } from 'vitest'
import { isLong } from '../support/length.ts'
import { freshDatabase, sharedRabbit } from '../support/services.ts'
import { Stage } from '../support/stage.ts'
import { countRepeats, verifyContents, verifyDeliveries } from '../support/verify.ts'
import { Witness } from '../support/witness.ts'
import { runWorkload } from '../support/workload.ts'

const transactions = isLong ? 10_000 : 3000

test(`some ${transactions * 10} rows in ${transactions} transactions of eight writers arrive once, in commit order, as written`, async () => {
  const database = await freshDatabase()
  onTestFinished(() => database.drop())
  const stage = await Stage.create({ databaseUrl: database.url, amqpUrl: sharedRabbit().url })
  onTestFinished(() => stage.dispose())
  const witness = await Witness.create(database.url, `${stage.name}_w`, 'wal2rabbit')
  const collector = await stage.collector()
  stage.bridge.start()
  await stage.bridge.until((status) => status.state === 'streaming')

  const ledger = await runWorkload({ url: database.url, connections: 8, transactions, seed: 2 })
  expect(ledger.committed.size).toBeGreaterThan(transactions * 8)
  expect(ledger.rolledBack.size).toBeGreaterThan(transactions / 2)
  await collector.until(() => collector.ids.size >= ledger.committed.size, 60_000, 'every committed row')

  expect(await stage.bridge.end('SIGTERM')).toBe(0)
  verifyDeliveries(collector, ledger, await witness.read())
  verifyContents(collector, ledger)
  expect(countRepeats(collector)).toBe(0)
  const { stored, confirmedFlush } = await stage.positions()
  expect(confirmedFlush).toBe(stored)

  // A graceful stop and start repeats nothing.
  stage.bridge.start()
  await stage.bridge.until((status) => status.state === 'streaming')
  const [row] = await stage.query(
    `INSERT INTO outbox (aggregate_type, aggregate_id, type) VALUES ('a', '1', 'Last') RETURNING id`,
  )
  await collector.until(() => collector.ids.has(String(row?.id)), 10_000, 'the last event')
  expect(countRepeats(collector)).toBe(0)
}, 240_000)
