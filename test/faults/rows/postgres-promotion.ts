import pg from 'pg'
import type { PostgresService } from '../../support/services.ts'
import { Database } from '../rig/database.ts'
import type { Rig } from '../rig/rig.ts'
import type { Scene } from '../rig/scene.ts'
import { urlOfDatabase } from '../rig/server.ts'
import type { Figures, Row } from '../row.ts'
import { haltsWith3 } from './postgres-clusters.ts'
import { noFolder, type Query, type StandbyOptions, skipped, startStandby, takeOver } from './postgres-copies.ts'
import { comesToRest, staysHalted, until } from './postgres-halt.ts'

/** The scene's primary and a stand-by that follows it. All rows begin with it, the bridge streaming. */
interface Pair {
  readonly scene: Scene
  readonly standby: PostgresService
  readonly onStandby: Query
}

type Making = (scene: Scene) => Promise<StandbyOptions | 'impossible'>

const asItIs: Making = async () => ({})
const withoutSlot: Making = async ({ slot }) => ({ without: [slot] })

/** From version 17 on PostgreSQL itself keeps a slot of the stand-by in step with the primary's. */
const synchronized: Making = async (scene) => {
  if (Number.parseInt(scene.postgres.service.version, 10) < 17) return 'impossible'
  const client = new pg.Client({
    connectionString: `${urlOfDatabase(scene.postgres.directUrl, scene.database)}?replication=database`,
  })
  await client.connect()
  await client.query(`ALTER_REPLICATION_SLOT ${scene.slot} ( FAILOVER )`)
  await client.end()
  await scene.query(`SELECT pg_create_physical_replication_slot('rig_standby', true)`)
  const settings = { primary_slot_name: 'rig_standby', hot_standby_feedback: 'on', sync_replication_slots: 'on' }
  return { without: [scene.slot, 'rig_standby'], settings }
}

const keepsWal = { settings: { wal_keep_size: '256MB' } } as const

export const promotionRows: readonly Row[] = [
  row('stand-by without the slot promoted', 'H', withoutSlot, async (pair) => {
    const { scene } = pair
    await comesToRest(scene)
    await stopPrimary(pair)
    await takeOver(scene, pair.standby, pair.onStandby)
    scene.load.resume()
    await staysHalted(scene, 'SLOT_MISSING')
    return scene.finish({ delivered: false })
  }),
  row(
    'stand-by with the slot (older than the stored position) promoted, the bridge running throughout',
    'R',
    asItIs,
    async (pair) => {
      const { scene } = pair
      await comesToRest(scene)
      await stopPrimary(pair)
      await takeOver(scene, pair.standby, pair.onStandby)
      scene.load.resume()
      await scene.flow(200)
      await scene.recovers('promoted', 20_000)
      return scene.finish()
    },
  ),
  row('stand-by promoted that was behind, with a slot; its own position is older too', 'R', asItIs, async (pair) => {
    const { scene } = pair
    await fallBehind(pair)
    await scene.turnsBack()
    await scene.postgres.service.stop('fast')
    await takeOver(scene, pair.standby, pair.onStandby)
    scene.load.resume()
    await scene.flow(200)
    await scene.recovers('promoted', 20_000)
    return scene.finish()
  }),
  row(
    'stand-by promoted that was behind, and the newer checkpoint written into it by hand',
    'H',
    asItIs,
    async (pair) => {
      const { scene, standby, onStandby } = pair
      await fallBehind(pair)
      await scene.bridge.stop()
      const [newer] = await scene.query('SELECT lsn::text AS lsn FROM wal2rabbit.checkpoint')
      await scene.turnsBack()
      await scene.postgres.service.stop('fast')
      await takeOver(scene, standby, onStandby)
      await scene.query('UPDATE wal2rabbit.checkpoint SET lsn = $1, version = version + 1', [newer?.lsn])
      scene.bridge.start()
      await haltsWith3(scene, 'TIMELINE_DIVERGED')
      return scene.finish({ delivered: false })
    },
  ),
  row('stand-by with a synchronized slot promoted, the bridge running throughout', 'R', synchronized, async (pair) => {
    const { scene, onStandby } = pair
    await until('a synchronized slot', 60_000, async () => {
      const [slot] = await onStandby(
        `SELECT synced AND NOT temporary AS there FROM pg_replication_slots WHERE slot_name = '${scene.slot}'`,
      )
      return slot?.there === true
    })
    await scene.flow(200)
    await comesToRest(scene)
    await stopPrimary(pair)
    await takeOver(scene, pair.standby, onStandby)
    scene.load.resume()
    await scene.flow(200)
    await scene.recovers('promoted', 20_000)
    return scene.finish()
  }),
]

function row(title: string, expect: 'R' | 'H', making: Making, play: (pair: Pair) => Promise<Figures>): Row {
  return {
    id: 'F42',
    title,
    expect,
    async run(rig, { seed }) {
      const scene = await rig.scene({ seed, postgres: keepsWal })
      const folder = scene.postgres.service.dataFolder
      if (folder === undefined) return skipped(noFolder)
      const options = await making(scene)
      if (options === 'impossible') return skipped('slots are synchronized from PostgreSQL 17 on')
      const standby = await startStandby(rig, scene, folder, options)
      const onStandby = queryOf(rig, scene, standby)
      await scene.start()
      await scene.flow(300)
      await until('a stand-by that follows', 20_000, async () => {
        const [sender] = await scene.query(`SELECT 1 AS here FROM pg_stat_replication WHERE state = 'streaming'
          AND application_name = 'walreceiver'`)
        return sender !== undefined
      })
      return play({ scene, standby, onStandby })
    },
  }
}

/** In the scene's database, at whatever address the stand-by has: both are asked by the same function. */
function queryOf(rig: Rig, scene: Scene, standby: PostgresService): Query {
  const database = new Database(standby.urlFor(scene.database), 'rig_standby')
  rig.onCleanup(() => database.close())
  return (sql) => database.query(sql)
}

/** A fast shutdown sends everything to the stand-by first. */
async function stopPrimary({ scene, onStandby }: Pair): Promise<void> {
  const [end] = await scene.query('SELECT pg_current_wal_lsn()::text AS lsn')
  await until('a stand-by that has everything', 20_000, async () => {
    const [row] = await onStandby(`SELECT pg_last_wal_replay_lsn() >= '${end?.lsn}' AS there`)
    return row?.there === true
  })
  await scene.postgres.service.stop('fast')
}

/** Cuts the stand-by off; events committed and delivered after that are unknown to it. */
async function fallBehind({ scene, onStandby }: Pair): Promise<void> {
  await onStandby(`ALTER SYSTEM SET primary_conninfo = ''`)
  await onStandby('SELECT pg_reload_conf()')
  await until('a stand-by that is cut off', 20_000, async () => {
    const rows = await scene.query(`SELECT 1 FROM pg_stat_replication WHERE application_name = 'walreceiver'`)
    return rows.length === 0
  })
  await scene.flow(300)
  await comesToRest(scene)
}
