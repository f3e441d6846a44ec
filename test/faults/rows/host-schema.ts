import { loadMigrations, migrationScript } from '../../../src/setup/sql-files.ts'
import { runCommand } from '../../support/bridge-process.ts'
import type { Scene } from '../rig/scene.ts'
import type { Row } from '../row.ts'

export const schemaRows: readonly Row[] = [
  {
    id: 'F85',
    title: 'schema of a newer version: halts, running or restarted, until it is undone',
    expect: 'H',
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed })
      const { bridge } = scene
      await scene.start()
      for (let run = 1; run <= runs; run++) {
        await scene.flow(200)
        await scene.query(
          `INSERT INTO wal2rabbit.schema_migration (version, name, checksum) VALUES (999, '999_future.sql', 'none')`,
        )
        // What runs goes on until its next session.
        await scene.flow(100)
        await scene.query('SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1', [
          scene.slot,
        ])
        await scene.halts('SCHEMA_NEWER')
        const code = await bridge.stop()
        scene.expect(code === 3, 'I9', `halted, it ended with ${code} instead of 3`)
        bridge.start()
        await scene.halts('SCHEMA_NEWER')
        const init = await runCommand(['init'], bridge.env)
        scene.expect(init.code !== 0 && init.stderr.includes('SCHEMA_NEWER'), 'I9', `init said ${init.stderr}`)
        await bridge.stop()
        await scene.query('DELETE FROM wal2rabbit.schema_migration WHERE version = 999')
        bridge.start()
        await scene.recovers(`the schema is as it was ${run}`, 15_000)
      }
      return scene.finish({ runs })
    },
  },
  {
    id: 'F85',
    title: 'schema of an older version: halts, and goes on by itself after init',
    expect: 'R',
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed })
      const { bridge } = scene
      await scene.start()
      for (let run = 1; run <= runs; run++) {
        await scene.flow(200)
        await bridge.stop()
        await downgrade(scene)
        bridge.start()
        await scene.halts('SCHEMA_OLDER')
        const init = await runCommand(['init'], bridge.env)
        scene.expect(init.code === 0, 'I8', `init ended with ${init.code}: ${init.stderr}`)
        await scene.recovers(`the schema is upgraded ${run}`, 45_000)
      }
      return scene.finish({ runs })
    },
  },
]

/** The schema as its first version left it, with the position that is stored now. */
async function downgrade(scene: Scene): Promise<void> {
  const [first] = await loadMigrations()
  if (first === undefined) throw new Error('no numbered file in sql/')
  await scene.query('CREATE TABLE rig.saved AS TABLE wal2rabbit.checkpoint')
  await scene.query('DROP SCHEMA wal2rabbit CASCADE')
  await scene.query(migrationScript(first))
  await scene.query('INSERT INTO wal2rabbit.checkpoint SELECT * FROM rig.saved')
  await scene.query('DROP TABLE rig.saved')
  // It went with the table; see rig/trace.ts.
  await scene.query(`CREATE TRIGGER rig_note AFTER INSERT OR UPDATE ON wal2rabbit.checkpoint
    FOR EACH ROW EXECUTE FUNCTION rig.note()`)
}
