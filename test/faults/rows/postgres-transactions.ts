import { createHash } from 'node:crypto'
import pg from 'pg'
import type { Rig } from '../rig/rig.ts'
import type { Scene } from '../rig/scene.ts'
import { urlOfDatabase } from '../rig/server.ts'
import type { Row } from '../row.ts'
import { Aggregates, routingKeyOf } from '../workload/aggregates.ts'
import { digestOf } from '../workload/digest.ts'
import { Transaction, type TransactionParts } from '../workload/transaction.ts'

const megabyte = 1024 * 1024

export const transactionRows: readonly Row[] = [
  {
    id: 'F32',
    title: 'one transaction of a million rows, the bridge killed in its middle',
    expect: 'R',
    timeout: 600,
    async run(rig, { seed, quick }) {
      const rows = quick ? 100_000 : 1_000_000
      // Read back by SQL it would not fit; ids, bodies and numbers follow from the row number instead.
      const scene = await rig.scene({ seed, witness: false, window: 2000, memoryLimit: 160 * megabyte })
      const { bridge } = scene
      bridge.start()
      await bridge.until(({ state }) => state === 'streaming')
      await insertMany(scene, rows)
      await bridge.until(({ counters }) => counters.confirmed > rows / 2, 180_000, 'half of the transaction')
      await bridge.kill()
      const [row] = await scene.query('SELECT partial_rows::int AS rows FROM wal2rabbit.checkpoint WHERE slot = $1', [
        scene.slot,
      ])
      scene.expect(Number(row?.rows) > rows / 3, 'I4', `only ${row?.rows} rows of the transaction were stored`)
      bridge.start()
      await scene.recovers('the rest of the transaction', 180_000)
      const published = (await bridge.status())?.counters.published
      scene.expect(published === rows - Number(row?.rows), 'I4', `${published} rows were sent after the kill`)
      return scene.finish({ note: `resumed after row ${row?.rows}, ${Math.round(bridge.residentBytes / megabyte)} MB` })
    },
  },
  {
    id: 'F32',
    title: '100 transactions open at once, their statements interleaved, the bridge killed as they commit',
    expect: 'R',
    runs: 3,
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed })
      await scene.start()
      const { random } = scene
      for (let run = 1; run <= runs; run++) {
        const open = await Promise.all(
          Array.from({ length: 100 }, async (_, n) => openTransaction(rig, scene, `x${run}_${n}`)),
        )
        for (let n = 0; n < 500; n++) {
          const transaction = open[random.between(0, open.length - 1)]?.transaction
          await transaction?.work(() => transaction.insert(random.between(1, 3)))
        }
        const half = open.length / 2
        for (let left = open.length; left > 0; left--) {
          const [one] = open.splice(random.between(0, left - 1), 1)
          await (random.chance(0.8) ? one?.transaction.commit() : one?.transaction.rollback())
          await one?.end()
          if (open.length === half) await scene.bridge.kill()
        }
        scene.bridge.start()
        await scene.recovers(`all have ended ${run}`, 15_000)
      }
      return scene.finish({ runs })
    },
  },
  {
    id: 'F32',
    title: '10,000 savepoints in one transaction, half of them rolled back',
    expect: 'R',
    async run(rig, { seed, runs, quick }) {
      const scene = await rig.scene({ seed })
      await scene.start()
      const { random } = scene
      for (let run = 1; run <= runs; run++) {
        const { transaction } = await openTransaction(rig, scene, `s${run}`)
        await transaction.work(async () => {
          for (let n = quick ? 1000 : 10_000; n > 0; n--) {
            const mark = transaction.mark()
            await transaction.query('SAVEPOINT s')
            await transaction.insert(1)
            if (random.chance(0.5)) {
              await transaction.query('RELEASE SAVEPOINT s')
              continue
            }
            await transaction.query('ROLLBACK TO SAVEPOINT s')
            transaction.rewind(mark)
          }
        })
        await transaction.commit()
        await scene.recovers(`the savepoints are over ${run}`, 20_000)
      }
      return scene.finish({ runs })
    },
  },
  {
    id: 'F36',
    title: 'PREPARE TRANSACTION, PostgreSQL and the bridge restarted, COMMIT or ROLLBACK PREPARED',
    expect: 'R',
    runs: 4,
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed, load: { kinds: { prepared: 0 } } })
      await scene.start()
      const { bridge, random, postgres } = scene
      for (let run = 1; run <= runs; run++) {
        const prepared = new Map<string, Transaction>()
        for (let n = 0; n < 6; n++) {
          const name = `${scene.slot}_${run}_${n}`
          const { transaction } = await openTransaction(rig, scene, `p${run}_${n}`)
          await transaction.work(() => transaction.insert(random.between(1, 20)))
          await transaction.query(`PREPARE TRANSACTION '${name}'`)
          prepared.set(name, transaction)
        }
        await scene.flow(100)
        if (run % 2 === 0) await bridge.kill()
        await (run % 4 < 2 ? postgres.service.restart('fast') : restartAfterKill(scene))
        if (!bridge.isRunning) bridge.start()
        await scene.recovers(`PostgreSQL is back ${run}`, 15_000)
        for (const [name, transaction] of prepared) {
          const commits = random.chance(0.5)
          await scene.query(`${commits ? 'COMMIT' : 'ROLLBACK'} PREPARED '${name}'`)
          if (commits) transaction.committed()
          else transaction.rolledBack()
        }
        await scene.recovers(`the prepared ones have ended ${run}`, 10_000)
      }
      return scene.finish({ runs })
    },
  },
]

async function restartAfterKill({ postgres }: Scene): Promise<void> {
  await postgres.service.kill()
  await postgres.service.start()
}

/**
 * An open transaction on a connection of its own, with aggregates of its own. `end` closes its connection: each round
 * has a hundred.
 */
export async function openTransaction(
  rig: Rig,
  scene: Scene,
  writer: string,
): Promise<{ transaction: Transaction; end: () => Promise<void> }> {
  const client = new pg.Client({ connectionString: urlOfDatabase(scene.postgres.directUrl, scene.database) })
  // Restarts of the server are part of it.
  client.on('error', () => undefined)
  const end = () => client.end().catch(() => undefined)
  rig.onCleanup(end)
  await client.connect()
  const { random, load } = scene
  const aggregates = new Aggregates(writer, random)
  const parts: TransactionParts = { client, table: 'public.outbox', random, aggregates, ledger: load.ledger }
  const transaction = new Transaction(parts)
  await transaction.query('BEGIN')
  return { transaction, end }
}

async function insertMany(scene: Scene, rows: number): Promise<void> {
  const type = 'Bulk'
  const written = Array.from({ length: rows }, (_, n) => {
    const aggregate = `b.${n % 100}`
    const sequence = Math.floor(n / 100) + 1
    const body = `{"n": ${n}}`
    const digest = digestOf({ routingKey: routingKeyOf(aggregate, type), type, aggregate, sequence, body })
    return [idOf(scene.slot, n), { aggregate, sequence, digest }] as const
  })
  await scene.query(
    `INSERT INTO public.outbox (id, aggregate_type, aggregate_id, type, payload, headers)
     SELECT md5($1 || n)::uuid, 'order', 'b.' || n % 100, 'Bulk', jsonb_build_object('n', n),
       jsonb_build_object('sequence', n / 100 + 1)
     FROM generate_series(0, $2::int - 1) n`,
    [scene.slot, rows],
  )
  scene.load.ledger.commit(new Map(written))
}

function idOf(seed: string, n: number): string {
  const hex = createHash('md5').update(`${seed}${n}`).digest('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}
