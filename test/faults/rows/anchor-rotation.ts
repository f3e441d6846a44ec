import { setTimeout as delay } from 'node:timers/promises'
import { type Lsn, parseLsn } from '../../../src/base/lsn.ts'
import { anchors_max } from '../../../src/replay/plan-anchors.ts'
import { checkSlots } from '../checkers/slots.ts'
import { readSlots } from '../rig/bookkeeping.ts'
import { Database } from '../rig/database.ts'
import { Replays } from '../rig/replays.ts'
import type { Rig } from '../rig/rig.ts'
import type { Scene } from '../rig/scene.ts'
import { urlOfDatabase } from '../rig/server.ts'
import { stretched } from '../rig/stretch.ts'
import type { Row } from '../row.ts'
import { done_ms, slowly } from './replay-history.ts'

const megabyte = 1024 * 1024
/** `replay.window.bytes`: an anchor is made each half of it. */
const windowBytes = 8 * megabyte
/** Of WAL beside the events, about: an anchor each second or so. */
const bytesPerSecond = 4 * megabyte
/** Milliseconds from a start until the anchors are in order. */
const inOrder_ms = 15_000

export const rotationRows: readonly Row[] = [
  {
    id: 'F09',
    title: 'killed during the rotation of anchors, under heavy writes',
    expect: 'R',
    quick: true,
    everyTime: true,
    runs: 30,
    quickRuns: 2,
    timeout: 1800,
    async run(rig, { seed, runs }) {
      const env = { WAL2RABBIT_REPLAY_WINDOW_BYTES: String(windowBytes) }
      const scene = await rig.scene({ seed, env, load: { rate: 200 } })
      const replays = await Replays.open(scene, (cleanup) => rig.onCleanup(cleanup))
      const { bridge, random } = scene
      await scene.start()
      let writes = writeHeavily(rig, scene)
      let most = 0
      for (let kill = 1; kill <= runs; kill++) {
        const failPoint = ['anchor-created', 'anchor-dropped', undefined][random.between(0, 2)]
        if (failPoint === undefined) {
          await delay(random.between(0, 2000))
          await bridge.kill()
        } else {
          await bridge.stop()
          bridge.start({ failPoint: `${failPoint}:${random.between(1, 2)}` })
          await bridge.died(60_000)
        }
        await scene.checkHeld(`kill ${kill}`)
        bridge.start()
        most = Math.max(most, await anchorsInOrder(scene, `kill ${kill}`))
      }
      // From as far back as the WAL reaches; then anchors come and go again.
      await writes.stop()
      const replay = replays.of({ from: await floor(scene), rate: slowly })
      await replay.start()
      await replay.until(1)
      writes = writeHeavily(rig, scene)
      await replay.done(done_ms)
      await writes.stop()
      await scene.recovers('the last kill', 15_000)
      const made = bridge.log.split('"anchor slot made"').length - 1
      const note = `${made} anchors made, ${Math.round(most / megabyte)} MiB of WAL retained at most, limit ${(2 * windowBytes) / megabyte}`
      return scene.finish({ runs, note: `${note}; ${await replays.check()}` })
    },
  },
]

/** WAL that is no events, until it is stopped. */
function writeHeavily(rig: Rig, { postgres, database: name }: Scene): { stop(): Promise<void> } {
  const database = new Database(urlOfDatabase(postgres.directUrl, name), 'rig_heavy')
  rig.onCleanup(() => database.close())
  const piece = megabyte / 4
  let goesOn = true
  const write = async () => {
    for (let due = Date.now(); goesOn; due = Math.max(due + (piece / bytesPerSecond) * 1000, Date.now())) {
      await database.query(`SELECT pg_logical_emit_message(false, 'rig', repeat('x', $1::int))`, [piece])
      await delay(Math.max(0, due - Date.now()))
    }
  }
  const written = write()
  const stop = () => {
    goesOn = false
    return written
  }
  rig.onCleanup(() => {
    goesOn = false
  })
  return { stop }
}

/**
 * Within its bound a bridge that was started has no more than three anchors, none of them invalid, and no stray slot; and
 * from then on they retain no more than twice the window. Gives the most that they did, bytes.
 */
async function anchorsInOrder(scene: Scene, when: string): Promise<number> {
  const begun = performance.now()
  await scene.bridge.until(
    ({ state, replayWindow }) => state === 'streaming' && (replayWindow?.anchors.length ?? 0) > 0,
    60_000,
    'anchors',
  )
  scene.bound('I8', `anchors after ${when}`, performance.now() - begun, stretched(inOrder_ms))
  let most = 0
  for (let look = 0; look < 10; look++) {
    const found = await anchors(scene)
    const invalid = found.filter(({ status }) => status === 'lost').length
    scene.expect(invalid === 0, 'I10', `${invalid} invalid anchors after ${when}`)
    scene.expect(found.length <= anchors_max, 'I10', `${found.length} anchors after ${when}`)
    most = Math.max(most, ...found.map(({ retained }) => retained))
    await delay(100)
  }
  scene.notes.violations.push(...checkSlots(await readSlots(scene.parts.database.query, scene.slot)))
  scene.bound('I10', `bytes of WAL that anchors retain after ${when}`, most, 2 * windowBytes)
  return most
}

interface SeenAnchor {
  readonly lsn: string
  readonly status: string
  readonly retained: number
}

/** Oldest first. The WAL end is read before the slots: it may not be charged with what is written meanwhile. */
async function anchors(scene: Scene): Promise<SeenAnchor[]> {
  const rows = await scene.query(
    `WITH wal AS MATERIALIZED (SELECT pg_current_wal_lsn() AS wal_end)
     SELECT confirmed_flush_lsn::text AS lsn, wal_status, wal_end - restart_lsn AS retained
     FROM wal, pg_replication_slots WHERE starts_with(slot_name, $1) AND NOT temporary
     ORDER BY confirmed_flush_lsn`,
    [`${scene.slot}_anchor_`],
  )
  return rows.map(({ lsn, wal_status, retained }) => ({
    lsn: String(lsn),
    status: String(wal_status),
    retained: Number(retained),
  }))
}

async function floor(scene: Scene): Promise<Lsn> {
  const [oldest] = await anchors(scene)
  return parseLsn(String(oldest?.lsn))
}
