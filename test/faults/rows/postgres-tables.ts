import pg from 'pg'
import type { Scene } from '../rig/scene.ts'
import type { Row } from '../row.ts'
import { comesToRest, committed, eachRun, staysHalted, writersRest } from './postgres-halt.ts'
import { writeOdd } from './postgres-odd-event.ts'

/** One after the other under load; none of it concerns a mapped column, or it leaves it readable. */
const harmless: readonly string[] = [
  'ALTER TABLE public.outbox ADD COLUMN note text',
  `ALTER TABLE public.outbox ADD COLUMN tenant int NOT NULL DEFAULT 7`,
  'ALTER TABLE public.outbox RENAME note TO remark',
  'ALTER TABLE public.outbox ALTER tenant TYPE text',
  'ALTER TABLE public.outbox DROP COLUMN remark',
  'CREATE INDEX outbox_by_aggregate ON public.outbox (aggregate_id)',
  'ALTER TABLE public.outbox ALTER payload TYPE json',
  'ALTER TABLE public.outbox ALTER type TYPE varchar(100)',
  'ALTER TABLE public.outbox ALTER payload DROP NOT NULL',
  'VACUUM FULL public.outbox',
]

/** Without those that wait with one connection for another: behind a waiting ALTER TABLE they would wait for ever. */
const patient = { kinds: { interleaved: 0 } } as const

const swap = `
  ALTER TABLE public.outbox RENAME TO outbox_old;
  CREATE TABLE public.outbox (LIKE public.outbox_old INCLUDING ALL);
  ALTER PUBLICATION rig_witness ADD TABLE public.outbox;`

export const tableRows: readonly Row[] = [
  {
    id: 'F31',
    title: 'columns added, renamed, retyped and dropped that are not mapped; a mapped one retyped to what can be read',
    expect: 'R',
    quick: true,
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed, load: patient })
      await scene.start()
      for (const statement of harmless) {
        await scene.flow(60)
        await scene.query(statement)
      }
      await scene.recovers('the table has changed', 10_000)
      const status = await scene.bridge.status()
      scene.bound('I8', 'new sessions', status?.counters.reconnects.source ?? 0, 0)
      return scene.finish({ runs })
    },
  },
  {
    id: 'F31',
    title: 'mapped column renamed: halt; with both names mapped nothing is lost',
    expect: 'H',
    run: (rig, run) =>
      eachRun(run, async (seed) => {
        const scene = await rig.scene({ seed, load: patient })
        await scene.start()
        await scene.flow(200)
        await writersRest(scene)
        await scene.query('ALTER TABLE public.outbox RENAME payload TO body')
        await writeOdd(scene, { columns: { body: '{"renamed": 1}' }, body: '{"renamed": 1}' })
        await staysHalted(scene, 'COLUMN_MISSING')
        await scene.query('ALTER TABLE public.outbox RENAME body TO payload')
        scene.load.resume()
        scene.bridge.start({ env: { WAL2RABBIT_SOURCE_COLUMNS: '{ payload: [body, payload] }' } })
        await scene.recovers('both names are mapped', 15_000)
        return scene.finish()
      }),
  },
  haltRow('mapped column dropped, and a row without it', 'COLUMN_MISSING', async (scene) => {
    await scene.query('ALTER TABLE public.outbox DROP COLUMN headers')
    await writeOdd(scene, { columns: { payload: '{}' }, body: '{}' })
  }),
  haltRow('mapped column retyped to what cannot be read, and a row with it', 'COLUMN_TYPE', async (scene) => {
    await scene.query('ALTER TABLE public.outbox ALTER payload TYPE int USING 1')
    await writeOdd(scene, { columns: { payload: '1' }, body: '1' })
  }),
  {
    id: 'F31',
    title: 'table swapped by rename; its publication follows the old one',
    expect: 'H',
    run: (rig, run) =>
      eachRun(run, async (seed) => {
        const scene = await rig.scene({ seed, load: patient })
        await scene.start()
        await scene.flow(200)
        await scene.query(`BEGIN; ${swap} COMMIT`)
        await staysHalted(scene, 'PUBLICATION_INCOMPLETE')
        return scene.finish({ delivered: false })
      }),
  },
  {
    id: 'F31',
    title: 'table swapped by rename and published in the same transaction: halt; after a restart nothing is lost',
    expect: 'H',
    run: (rig, run) =>
      eachRun(run, async (seed) => {
        const scene = await rig.scene({ seed, load: patient })
        await scene.start()
        await scene.flow(200)
        await scene.query(`BEGIN; ${swap} ALTER PUBLICATION wal2rabbit ADD TABLE public.outbox; COMMIT`)
        await staysHalted(scene, 'PUBLICATION_INCOMPLETE')
        scene.bridge.start()
        await scene.recovers('restarted', 15_000)
        return scene.finish()
      }),
  },
  unsentRow('TRUNCATE of rows not yet sent', (scene) => scene.query('TRUNCATE public.outbox')),
  unsentRow('DELETE of rows not yet sent', (scene) => scene.query('DELETE FROM public.outbox')),
  {
    id: 'F37',
    title: 'DROP of the partition that holds rows not yet sent',
    expect: 'R',
    runs: 2,
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({
        seed,
        env: { WAL2RABBIT_SOURCE_TABLE: 'public.parted' },
        load: { table: 'public.parted' },
        beforeInit: ({ WAL2RABBIT_SOURCE_URL: url = '' }) => createPartitioned(url),
      })
      await scene.start()
      for (let run = 1; run <= runs; run++) {
        await unsent(scene, async () => {
          await scene.query(`CREATE TABLE public.parted_${run} PARTITION OF public.parted FOR VALUES IN (${run})`)
          await scene.query(`ALTER TABLE public.parted ALTER part SET DEFAULT ${run}`)
          await scene.query(`DROP TABLE public.parted_${run - 1}`)
        })
        await scene.recovers(`the partition is gone ${run}`, 15_000)
      }
      return scene.finish({ runs })
    },
  },
]

function haltRow(title: string, code: 'COLUMN_MISSING' | 'COLUMN_TYPE', change: (scene: Scene) => Promise<void>): Row {
  return {
    id: 'F31',
    title,
    expect: 'H',
    run: (rig, run) =>
      eachRun(run, async (seed) => {
        const scene = await rig.scene({ seed, load: patient })
        await scene.start()
        await scene.flow(200)
        await writersRest(scene)
        await change(scene)
        await staysHalted(scene, code)
        return scene.finish({ delivered: false })
      }),
  }
}

function unsentRow(title: string, remove: (scene: Scene) => Promise<unknown>): Row {
  return {
    id: 'F37',
    title,
    expect: 'R',
    runs: 2,
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed, load: patient })
      await scene.start()
      for (let run = 1; run <= runs; run++) {
        await unsent(scene, () => remove(scene))
        await scene.recovers(`the rows are gone ${run}`, 15_000)
      }
      return scene.finish({ runs })
    },
  }
}

/** While the bridge is down rows are written, and `remove` takes them away. */
async function unsent(scene: Scene, remove: () => Promise<unknown>): Promise<void> {
  await scene.flow(200)
  await comesToRest(scene)
  await scene.bridge.stop()
  scene.load.resume()
  await committed(scene, 200)
  await writersRest(scene)
  await remove()
  scene.load.resume()
  scene.bridge.start()
}

async function createPartitioned(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  await client.query(`
    CREATE TABLE public.parted (
      id uuid NOT NULL DEFAULT gen_random_uuid(), aggregate_type text NOT NULL, aggregate_id text NOT NULL,
      type text NOT NULL, payload jsonb, headers jsonb NOT NULL DEFAULT '{}',
      created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
      transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id(), part int NOT NULL DEFAULT 0
    ) PARTITION BY LIST (part);
    CREATE TABLE public.parted_0 PARTITION OF public.parted FOR VALUES IN (0)`)
  await client.end()
}
