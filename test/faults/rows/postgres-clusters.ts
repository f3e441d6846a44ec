import { runCommand } from '../../support/bridge-process.ts'
import { startPostgres } from '../../support/services.ts'
import { Database } from '../rig/database.ts'
import type { Scene } from '../rig/scene.ts'
import { urlOfDatabase } from '../rig/server.ts'
import type { Row } from '../row.ts'
import { backUp, noFolder, restore, skipped } from './postgres-copies.ts'
import { comesToRest, committed, writersRest } from './postgres-halt.ts'

export const clusterRows: readonly Row[] = [
  {
    id: 'F40',
    title: 'data folder restored from an older copy, the bridge running throughout',
    expect: 'R',
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed, postgres: {} })
      const { postgres, bridge, load } = scene
      const folder = postgres.service.dataFolder
      if (folder === undefined) return skipped(noFolder)
      await scene.start()
      for (let run = 1; run <= runs; run++) {
        await scene.flow(200)
        // The copy holds events that were not sent by then.
        await comesToRest(scene)
        await bridge.stop()
        load.resume()
        const before = load.ledger.committed.size
        await committed(scene, 100)
        await writersRest(scene)
        const backlog = load.ledger.committed.size - before
        await backUp(postgres, folder)
        bridge.start()
        load.resume()
        await scene.recovers('the copy was made', 15_000)
        await scene.flow(300)
        await comesToRest(scene)
        await scene.turnsBack()
        scene.mayRepeat(backlog, 'the restored position lies before them')
        await restore(postgres, folder)
        load.resume()
        await scene.flow(200)
        await scene.recovers(`the copy was restored ${run}`, 20_000)
      }
      return scene.finish({ runs })
    },
  },
  {
    id: 'F40',
    title: 'data folder restored, and a newer checkpoint written back into it by hand',
    expect: 'H',
    async run(rig, { seed }) {
      const scene = await rig.scene({ seed, postgres: {} })
      const { postgres, bridge } = scene
      const folder = postgres.service.dataFolder
      if (folder === undefined) return skipped(noFolder)
      await scene.start()
      await scene.flow(200)
      await comesToRest(scene)
      await bridge.stop()
      await backUp(postgres, folder)
      bridge.start()
      scene.load.resume()
      await scene.flow(500)
      await comesToRest(scene)
      await bridge.stop()
      await scene.query(`SELECT pg_switch_wal()`)
      await scene.query(`SELECT pg_logical_emit_message(false, 'rig', repeat('x', 1000000))`)
      const [newer] = await scene.query('SELECT pg_current_wal_lsn()::text AS lsn')
      await scene.turnsBack()
      await restore(postgres, folder)
      await scene.query('UPDATE wal2rabbit.checkpoint SET lsn = $1, version = version + 1 WHERE slot = $2', [
        newer?.lsn,
        scene.slot,
      ])
      bridge.start()
      await haltsWith3(scene, 'STORED_AHEAD_OF_WAL')
      return scene.finish({ delivered: false })
    },
  },
  {
    id: 'F41',
    title: 'another cluster behind the same address, while the bridge runs and when it starts',
    expect: 'H',
    async run(rig, { seed }) {
      const scene = await rig.scene({ seed, postgres: {} })
      const { postgres, bridge, load } = scene
      await scene.start()
      await scene.flow(200)
      await comesToRest(scene)
      const [own] = await scene.query('SELECT system_identifier::text AS id FROM pg_control_system()')
      await postgres.proxy.refuse(true)
      await postgres.service.stop('fast')

      const other = await startPostgres({ port: postgres.service.port, settings: { fsync: 'off' } })
      rig.onCleanup(() => other.dispose())
      const directUrl = urlOfDatabase(postgres.directUrl, scene.database)
      const admin = new Database(postgres.directUrl, 'rig_other')
      await admin.query(`CREATE DATABASE ${scene.database}`)
      await admin.close()
      const init = await runCommand(['init'], { ...bridge.env, WAL2RABBIT_SOURCE_URL: directUrl })
      if (init.code !== 0) throw new Error(`init of the other cluster failed: ${init.stderr}`)
      // Nobody may see this event: its cluster is not the one that the bridge was set up with.
      await scene.query(
        `INSERT INTO public.outbox (aggregate_type, aggregate_id, type, payload) VALUES ('order', 'other.1', 'Event1', '{}')`,
      )
      await postgres.proxy.refuse(false)
      await haltsWith3(scene, 'SYSTEM_CHANGED')
      await scene.query('UPDATE wal2rabbit.checkpoint SET system_identifier = $1', [own?.id])
      bridge.start()
      await haltsWith3(scene, 'SYSTEM_CHANGED')

      await other.stop('fast')
      await postgres.service.start()
      await scene.checkHeld('the other cluster')
      load.resume()
      bridge.start()
      await scene.recovers('the right cluster is back', 15_000)
      return scene.finish()
    },
  },
]

/** Without a look at what the position covers: here it is not the bridge's own. */
export async function haltsWith3(
  scene: Scene,
  code: 'STORED_AHEAD_OF_WAL' | 'SYSTEM_CHANGED' | 'TIMELINE_DIVERGED',
): Promise<void> {
  await scene.halts(code)
  const exitCode = await scene.bridge.stop()
  scene.expect(exitCode === 3, 'I9', `halted with ${code}, it ended with ${exitCode} instead of 3`)
}
