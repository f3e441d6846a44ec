import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { parseLsn } from '../../src/base/lsn.ts'
import { copySlot } from '../../src/source/slot.ts'
import { runCommand } from '../support/bridge-process.ts'
import type { Collector } from '../support/collector.ts'
import { type FreshDatabase, freshDatabase, sharedRabbit } from '../support/services.ts'
import { Stage } from '../support/stage.ts'

let database: FreshDatabase
let stage: Stage
let live: Collector

beforeAll(async () => {
  database = await freshDatabase()
  stage = await Stage.create({ databaseUrl: database.url, amqpUrl: sharedRabbit().url })
  live = await stage.collector()
  stage.bridge.start()
  await stage.bridge.until((status) => status.state === 'streaming')
})

afterAll(async () => {
  await stage.dispose()
  await database.drop()
})

async function insert(count: number, type: string): Promise<string[]> {
  const rows = await stage.query(
    `INSERT INTO outbox (aggregate_type, aggregate_id, type, payload)
     SELECT 'order', (n % 10)::text, $2, jsonb_build_object('n', n) FROM generate_series(1, $1::int) n RETURNING id`,
    [count, type],
  )
  const ids = rows.map((row) => String(row.id))
  await live.until(() => ids.every((id) => live.ids.has(id)), 20_000, 'live events')
  return ids
}

test('smoke', async () => {
  await insert(100, 'A')
  const mark = await runCommand(['checkpoints', 'mark', 'm1'], stage.bridge.env)
  console.log(mark)
  const ids = await insert(50, 'B')
  const checkpoints = await runCommand(['checkpoints'], stage.bridge.env)
  console.log(checkpoints.stdout, checkpoints.stderr)
  for (const args of [
    ['replay', '--from', 'm1', '--dry-run'],
    ['replay', '--from', 'm1'],
    ['replay', '--from', 'm1', '--source', 'table'],
    ['replay', '--from', `event:${ids[10]}`, '--to', `event:${ids[12]}`, '--dry-run'],
    ['replay', '--from', `2099-01-01`],
    ['replay', '--from', `nope`],
    ['replay', '--from', `FF/0`],
    ['replay', '--from', `0/1`],
    ['replay', '--from', 'm1', '--queue', 'missing'],
    ['replay', '--from', 'm1', '--where', 'type=Z*'],
    ['replays'],
  ]) {
    const begun = performance.now()
    const result = await runCommand(args, stage.bridge.env)
    console.log(args.join(' '), result.code, Math.round(performance.now() - begun), result.stdout, result.stderr)
  }
  console.log(live.deliveries.length)
}, 120_000)
