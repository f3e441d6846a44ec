import { setTimeout as delay } from 'node:timers/promises'
import type { RigReplay } from '../rig/replay.ts'
import type { Scene } from '../rig/scene.ts'
import type { Row } from '../row.ts'
import { until } from './postgres-halt.ts'
import { blockBroker, unblockBroker } from './postgres-waiting.ts'
import { beginHistory, done_ms, slowly } from './replay-history.ts'

/** Events of a replay that have arrived when something breaks. */
const before = 100

interface Outage {
  readonly title: string
  readonly runs: number
  readonly quick?: boolean
  /** Milliseconds until the replay is done after it. */
  readonly bound?: number
  /** Whether the replay loses its connection to the broker by it. */
  readonly losesBroker?: boolean
  readonly make: (scene: Scene, run: number) => Promise<unknown>
}

/** A replay goes through it by itself, and so does the live stream. */
export const replayOutageRows: readonly Row[] = [
  outageRow({
    title: 'PostgreSQL restarted during a replay, fast and after a kill',
    runs: 30,
    async make({ postgres: { service } }, run) {
      if (run % 2 === 1) return service.restart('fast')
      await service.kill()
      await service.start()
    },
  }),
  outageRow({
    title: 'walsender of a replay terminated',
    runs: 30,
    quick: true,
    make: (scene) => endWalsender(scene),
  }),
  outageRow({
    title: 'AMQP connection of a replay closed by the broker',
    runs: 30,
    losesBroker: true,
    make: ({ rabbit }) => rabbit.service.ctl('eval', closeReplay),
  }),
  outageRow({
    title: 'RabbitMQ killed and restarted during a replay',
    runs: 5,
    losesBroker: true,
    bound: 60_000,
    async make({ rabbit: { service } }) {
      await service.kill()
      await service.start()
    },
  }),
  outageRow({
    title: 'memory alarm for 40 s during a replay: its replication socket is let go',
    runs: 2,
    bound: 60_000,
    async make(scene) {
      await blockBroker(scene)
      await delay(40_000)
      scene.expect((await temporarySlots(scene)) === 0, 'I10', 'the replay holds its unread socket for 40 s')
      await unblockBroker(scene)
    },
  }),
  {
    id: 'F09',
    title: 'anchor dropped under a replay; its walsender ended as well: it says that the WAL is out of reach',
    expect: 'R',
    runs: 10,
    timeout: 1800,
    async run(rig, { seed, runs }) {
      const { scene, replays } = await beginHistory(rig, seed, 0)
      for (let run = 1; run <= runs; run++) {
        const from = await replays.stored()
        await scene.flow(800)
        // So slowly that most of it lies ahead when the anchor is gone, also on a busy machine.
        const replay = replays.of({ from, rate: slowly / 4 })
        await replay.start()
        await replay.until(before)
        await dropAnchors(scene)
        if (run % 2 === 1) {
          await replay.done(done_ms)
        } else {
          await endWalsender(scene)
          await replay.givesUp(3, 'REPLAY_OUT_OF_REACH', done_ms)
        }
        await until('a new anchor', 30_000, async () => (await anchors(scene)).length > 0)
      }
      await scene.recovers('the last anchor was dropped', 10_000)
      return scene.finish({ runs, note: await replays.check() })
    },
  },
  {
    id: 'F09',
    title: 'one replay resumed by two processes: one is refused',
    expect: 'R',
    quick: true,
    runs: 10,
    timeout: 1800,
    async run(rig, { seed, runs }) {
      const { scene, replays, range } = await beginHistory(rig, seed, 300)
      let refusals = 0
      while (refusals < runs) {
        const replay = replays.of({ ...range, rate: slowly / 6 })
        await replay.start()
        await replay.until(1)
        const { code, output } = await replay.startBeside()
        const refused = code === 2 && output.includes('REPLAY_RUNNING')
        // A busy machine may have started the second one too late.
        const tooLate = code === 2 && output.includes('there is nothing to resume')
        scene.expect(refused || tooLate, 'G9', `a second process beside a replay ended with ${code}\n${output}`)
        if (!tooLate) refusals++
        if (replay.isRunning) await replay.kill()
        if ((await replay.record())?.state !== 'done') await startTwice(scene, replay)
      }
      await scene.recovers('the last replay is done', 10_000)
      return scene.finish({ runs, note: await replays.check() })
    },
  },
]

function outageRow({ title, quick = false, bound = done_ms, losesBroker = false, ...outage }: Outage): Row {
  return {
    id: 'F09',
    title,
    expect: 'R',
    quick,
    runs: outage.runs,
    timeout: 1800,
    async run(rig, { seed, runs, quick: short }) {
      const { scene, replays, range } = await beginHistory(rig, seed, short ? 600 : 1200)
      for (let run = 1; run <= runs; run++) {
        const replay = replays.of({ ...range, rate: slowly })
        await replay.start()
        await replay.until(before)
        if (losesBroker) replay.interrupted()
        scene.expect(replay.isRunning, 'G9', `replay ${run} was done before anything broke`)
        await outage.make(scene, run)
        await scene.recovers(`${title} ${run}`, 20_000)
        await replay.done(bound)
      }
      return scene.finish({ runs, note: await replays.check() })
    },
  }
}

/** Both at once: whichever has the lock carries it out, and the other one is refused. */
async function startTwice(scene: Scene, replay: RigReplay): Promise<void> {
  const ends = await replay.startTwice()
  const [winner, loser] = ends.toSorted((a, b) => Number(a.code) - Number(b.code))
  const right = winner?.code === 0 && loser?.code === 2 && loser.output.includes('REPLAY_RUNNING')
  const outputs = ends.map(({ output }) => output.slice(-800)).join('\n')
  scene.expect(right, 'G9', `two processes of one replay ended with ${winner?.code} and ${loser?.code}\n${outputs}`)
}

/** The one connection whose name says that it is a replay's. */
const closeReplay = `[rabbit_networking:close_connection(Pid, "closed by the rig") || Pid <- rabbit_networking:connections(),
  case lists:keyfind(<<"connection_name">>, 1,
      proplists:get_value(client_properties, rabbit_networking:connection_info(Pid, [client_properties]), [])) of
    {_, _, <<"wal2rabbit replay", _/binary>>} -> true;
    _ -> false
  end].`

async function endWalsender(scene: Scene): Promise<void> {
  const ended = await scene.query(
    `SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots
     WHERE temporary AND database = current_database()`,
  )
  scene.expect(ended.length === 1, 'G9', `${ended.length} temporary slots in place of one`)
}

async function temporarySlots(scene: Scene): Promise<number> {
  const slots = await scene.query('SELECT FROM pg_replication_slots WHERE temporary AND database = current_database()')
  return slots.length
}

async function anchors(scene: Scene): Promise<string[]> {
  const rows = await scene.query(
    `SELECT slot_name FROM pg_replication_slots WHERE starts_with(slot_name, $1) AND NOT temporary`,
    [`${scene.slot}_anchor_`],
  )
  return rows.map(({ slot_name }) => String(slot_name))
}

/** The bridge may drop one at the same time. */
async function dropAnchors(scene: Scene): Promise<void> {
  for (const name of await anchors(scene)) {
    await scene.query('SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1', [
      name,
    ])
  }
}
