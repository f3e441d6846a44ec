import type { ErrorCode } from '../../../src/base/errors.ts'
import type { Row } from '../row.ts'
import { eachRun, staysHalted } from './postgres-halt.ts'

const publication = 'wal2rabbit'
const create = `CREATE PUBLICATION ${publication} FOR TABLE public.outbox
  WITH (publish = 'insert', publish_via_partition_root = true)`

/** The bridge looks at its publication every five seconds while it streams, and whenever a session begins. */
export const publicationRows: readonly Row[] = [
  haltRow('publication dropped under load', 'PUBLICATION_MISSING', [`DROP PUBLICATION ${publication}`], {
    quick: true,
  }),
  haltRow('publication dropped and made again in one transaction', 'PUBLICATION_INCOMPLETE', [
    `BEGIN; DROP PUBLICATION ${publication}; ${create}; COMMIT`,
  ]),
  haltRow('table removed from its publication', 'PUBLICATION_INCOMPLETE', [
    `ALTER PUBLICATION ${publication} DROP TABLE public.outbox`,
  ]),
  haltRow('table removed from its publication for a moment', 'PUBLICATION_INCOMPLETE', [
    `ALTER PUBLICATION ${publication} DROP TABLE public.outbox`,
    'SELECT pg_sleep(0.3)',
    `ALTER PUBLICATION ${publication} ADD TABLE public.outbox`,
  ]),
  haltRow('publication publishes no inserts any more', 'PUBLICATION_INCOMPLETE', [
    `ALTER PUBLICATION ${publication} SET (publish = 'update')`,
  ]),
  {
    id: 'F30',
    title: 'publication dropped while the bridge is down',
    expect: 'H',
    run: (rig, run) =>
      eachRun(run, async (seed) => {
        const scene = await rig.scene({ seed })
        await scene.start()
        await scene.flow(200)
        await scene.bridge.stop()
        await scene.query(`DROP PUBLICATION ${publication}`)
        scene.bridge.start()
        await staysHalted(scene, 'PUBLICATION_MISSING')
        return scene.finish({ delivered: false })
      }),
  },
]

function haltRow(title: string, code: ErrorCode, statements: readonly string[], more: Partial<Row> = {}): Row {
  return {
    id: 'F30',
    title,
    expect: 'H',
    ...more,
    run: (rig, run) =>
      eachRun(run, async (seed) => {
        const scene = await rig.scene({ seed })
        await scene.start()
        await scene.flow(200)
        for (const statement of statements) await scene.query(statement)
        await staysHalted(scene, code, 15_000)
        return scene.finish({ delivered: false })
      }),
  }
}
