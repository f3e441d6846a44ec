import { setTimeout as delay } from 'node:timers/promises'
import type { ErrorCode } from '../../../src/base/errors.ts'
import type { Rig } from '../rig/rig.ts'
import type { Scene } from '../rig/scene.ts'
import type { SceneOptions } from '../rig/scene-options.ts'
import { witnessSlot } from '../rig/witness.ts'
import type { Figures, Row } from '../row.ts'
import { comesToRest, committed, eachRun, staysHalted, until, writersRest } from './postgres-halt.ts'
import { blockBroker, isFull, unblockBroker } from './postgres-waiting.ts'

type Meddling = (scene: Scene) => Promise<unknown>

/** The walsender is ended until the slot is free for as long as it takes to do this with it. */
const steal =
  (doThis: string): Meddling =>
  (scene) =>
    scene.query(`DO $$ BEGIN
      LOOP
        PERFORM pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '${scene.slot}';
        BEGIN
          PERFORM ${doThis.replaceAll('SLOT', `'${scene.slot}'`)};
          EXIT;
        EXCEPTION WHEN object_in_use THEN
          PERFORM pg_sleep(0.002);
        END;
      END LOOP;
    END $$`)

const drop = steal('pg_drop_replication_slot(SLOT)')
const advance = steal('pg_replication_slot_advance(SLOT, pg_current_wal_lsn())')

/** On the heels of the drop, so that the bridge never sees it missing: rows in between are in no slot. */
const dropAndCreate: Meddling = async (scene) => {
  await drop(scene)
  await scene.query('SELECT pg_create_logical_replication_slot($1, $2)', [scene.slot, 'pgoutput'])
}

export const slotRows: readonly Row[] = [
  haltRow('F24', 'slot dropped while it is streamed', 'SLOT_MISSING', drop, { quick: true, everyTime: true }),
  haltRow('F24', 'slot dropped while the bridge is down', 'SLOT_MISSING', whileDown(drop)),
  haltRow('F27', 'slot advanced by somebody between two sessions', 'SLOT_AHEAD', moved(advance)),
  haltRow('F27', 'slot advanced by somebody while the bridge is down', 'SLOT_AHEAD', whileDown(moved(advance))),
  haltRow('F27', 'slot dropped and made again under the same name', 'SLOT_AHEAD', whileCut(moved(dropAndCreate))),
  haltRow('F27', 'slot made again while the bridge is down', 'SLOT_AHEAD', whileDown(moved(dropAndCreate))),
  {
    id: 'F25',
    title: 'slot invalidated by max_slot_wal_keep_size while the bridge is down',
    expect: 'H',
    run: (rig, run) =>
      eachRun(run, (seed) =>
        halt(rig, { seed, postgres: littleWal }, 'SLOT_INVALIDATED', async (scene) => {
          await comesToRest(scene)
          await scene.bridge.stop()
          await invalidate(scene)
          scene.load.resume()
          scene.bridge.start()
        }),
      ),
  },
  {
    id: 'F25',
    title: 'slot invalidated by max_slot_wal_keep_size while the broker is blocked and the window full',
    expect: 'H',
    run: (rig, run) =>
      eachRun(run, async (seed) => {
        let longest = 0
        const figures = await halt(rig, { seed, postgres: littleWal }, 'SLOT_INVALIDATED', async (scene) => {
          await blockBroker(scene)
          await scene.bridge.until(({ window }) => isFull(window), 30_000, 'a full window')
          await writersRest(scene)
          longest = await invalidate(scene)
          scene.bound('I10', 'checkpoint', longest, 5000)
          await unblockBroker(scene)
        })
        return { ...figures, note: `checkpoint ${(longest / 1000).toFixed(1)} s` }
      }),
  },
]

const littleWal = { settings: { max_slot_wal_keep_size: '48MB', min_wal_size: '32MB', max_wal_size: '64MB' } } as const

function haltRow(id: 'F24' | 'F27', title: string, code: ErrorCode, meddle: Meddling, more: Partial<Row> = {}): Row {
  const run: Row['run'] = (rig, options) => eachRun(options, (seed) => halt(rig, { seed }, code, meddle))
  return { id, title, expect: 'H', ...more, run }
}

async function halt(rig: Rig, options: SceneOptions, code: ErrorCode, meddle: Meddling): Promise<Figures> {
  const scene = await rig.scene(options)
  await scene.start()
  await scene.flow(300)
  await meddle(scene)
  await staysHalted(scene, code)
  return scene.finish({ delivered: false })
}

function moved(meddle: Meddling): Meddling {
  return async (scene) => {
    scene.slotIsMoved()
    await meddle(scene)
  }
}

/** Stopped gracefully; rows are written on. */
function whileDown(meddle: Meddling): Meddling {
  return async (scene) => {
    await scene.bridge.stop()
    await committed(scene, 50)
    await meddle(scene)
    scene.bridge.start()
  }
}

/** The bridge runs, and is kept away from PostgreSQL for the moment that it takes. */
function whileCut(meddle: Meddling): Meddling {
  return async (scene) => {
    const { proxy } = scene.postgres
    await proxy.refuse(true)
    proxy.reset()
    await committed(scene, 50)
    await meddle(scene)
    await proxy.refuse(false)
  }
}

/** Writes WAL until the slot has lost what it needs, and keeps the witness's slot out of it. The longest checkpoint, ms. */
async function invalidate(scene: Scene): Promise<number> {
  const { witness } = scene.parts
  let longest = 0
  const isLost = async () => {
    await witness?.read()
    await scene.query('SELECT pg_replication_slot_advance($1, pg_current_wal_lsn())', [witnessSlot(scene.slot)])
    await scene.query(`SELECT pg_logical_emit_message(false, 'rig', repeat('x', 4000000))`)
    const begun = performance.now()
    await scene.query('CHECKPOINT')
    longest = Math.max(longest, performance.now() - begun)
    await delay(10)
    const [row] = await scene.query('SELECT wal_status FROM pg_replication_slots WHERE slot_name = $1', [scene.slot])
    return row?.wal_status === 'lost'
  }
  await until('an invalidated slot', 120_000, isLost)
  return longest
}
