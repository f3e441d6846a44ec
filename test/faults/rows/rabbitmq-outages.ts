import { setTimeout as delay } from 'node:timers/promises'
import { untilQuorumsElected } from '../../support/services/rabbit-answers.ts'
import type { Scene } from '../rig/scene.ts'
import type { Figures, Row } from '../row.ts'

/** PostgreSQL's checkpoints may take at most so long, milliseconds; I10. */
const checkpointBound = 5000
/** The replication socket is let go after 30 s without room in the window, which takes a moment to fill; seconds. */
const letGo_s = 40

export const outageRows: readonly Row[] = [
  {
    id: 'F50',
    title: 'RabbitMQ killed and restarted under load',
    expect: 'R',
    runs: 3,
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed })
      await scene.start()
      for (let run = 1; run <= runs; run++) {
        await scene.flow(300)
        await scene.rabbit.service.kill()
        await scene.rabbit.service.start()
        await scene.recovers(`RabbitMQ is back ${run}`, 20_000)
      }
      return scene.finish({ runs })
    },
  },
  {
    id: 'F51',
    title: 'rabbitmqctl stop_app and start_app under load',
    expect: 'R',
    runs: 2,
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed })
      const { service } = scene.rabbit
      await scene.start()
      for (let run = 1; run <= runs; run++) {
        await scene.flow(300)
        await service.ctl('stop_app')
        const { sink } = await scene.bridge.until(({ sink }) => sink.state === 'connecting', 20_000, 'no broker')
        scene.expect(sink.state === 'connecting' && !(await scene.bridge.ready()), 'I8', 'ready without a broker')
        await service.ctl('start_app')
        await untilQuorumsElected((...args) => service.ctl(...args))
        await scene.recovers(`start_app ${run}`, 20_000)
      }
      return scene.finish({ runs })
    },
  },
  {
    id: 'F51',
    title: 'all connections closed by rabbitmqctl',
    expect: 'R',
    quick: true,
    runs: 5,
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed })
      await scene.start()
      for (let run = 1; run <= runs; run++) {
        await scene.flow(200)
        const losses = scene.bridge.brokerLosses
        await scene.rabbit.service.ctl('close_all_connections', 'closed by the rig')
        await scene.recovers(`connections closed ${run}`, 10_000)
        scene.expect(scene.bridge.brokerLosses > losses, 'I8', `the connection was not lost in run ${run}`)
      }
      return scene.finish({ runs })
    },
  },
  {
    id: 'F52',
    title: 'RabbitMQ stopped (SIGSTOP) for 30 s, then SIGCONT',
    expect: 'R',
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed })
      await scene.start()
      for (let run = 1; run <= runs; run++) {
        await scene.flow(300)
        const losses = scene.bridge.brokerLosses
        await scene.rabbit.service.pause()
        await delay(30_000)
        await scene.rabbit.service.resume()
        // What was on its way to the broker is read there after SIGCONT, beside what was sent again.
        scene.mayRunStale(scene.parts.window)
        await scene.recovers(`SIGCONT ${run}`, 30_000)
        scene.expect(scene.bridge.brokerLosses > losses, 'I8', 'a silent broker was not noticed within 30 s')
      }
      return scene.finish({ runs })
    },
  },
  {
    id: 'F53',
    title: 'memory alarm for 60 s',
    expect: 'D',
    run: (rig, { seed, runs }) =>
      withAlarm(rig.scene({ seed }), runs, {
        raise: (scene) => scene.rabbit.service.ctl('set_vm_memory_high_watermark', '0.00001'),
        clear: (scene) => scene.rabbit.service.ctl('set_vm_memory_high_watermark', '0.4'),
        seconds: 60,
      }),
  },
  {
    id: 'F53',
    title: 'memory alarm raised and cleared every 0.7 s',
    expect: 'D',
    runs: 12,
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed })
      const { service } = scene.rabbit
      await scene.start()
      await scene.flow(200)
      const before = scene.bridge.brokerLosses
      const alarms = service.ctl('eval', flapping(runs))
      await scene.bridge.until(({ sink }) => sink.blocked, 20_000, 'blocked')
      await alarms
      await scene.recovers('the last alarm is over', 10_000)
      return sparing(scene, before, await scene.finish({ runs }))
    },
  },
  {
    id: 'F54',
    title: 'disk alarm for 10 s',
    expect: 'D',
    run: (rig, { seed, runs }) =>
      withAlarm(rig.scene({ seed }), runs, {
        raise: (scene) => scene.rabbit.service.ctl('set_disk_free_limit', '100000GB'),
        clear: (scene) => scene.rabbit.service.ctl('set_disk_free_limit', '50MB'),
        seconds: 10,
      }),
  },
]

interface Alarm {
  readonly raise: (scene: Scene) => Promise<unknown>
  readonly clear: (scene: Scene) => Promise<unknown>
  readonly seconds: number
}

/** Blocked is told, nothing is given up or sent twice, and PostgreSQL does not suffer. */
async function withAlarm(making: Promise<Scene>, runs: number, { raise, clear, seconds }: Alarm): Promise<Figures> {
  const scene = await making
  const { bridge } = scene
  await scene.start()
  const losses = bridge.brokerLosses
  let checkpoint = 0
  for (let run = 1; run <= runs; run++) {
    await scene.flow(200)
    await raise(scene)
    try {
      const { reason } = await bridge.until(({ state }) => state === 'blocked', 20_000, 'blocked')
      scene.expect(reason?.code === 'SINK_BLOCKED' && reason.remedy !== '', 'I8', `the reason is ${reason?.code}`)
      scene.expect(!(await bridge.ready()), 'I8', 'ready though the broker blocks')
      await delay(seconds * 1000)
      const { state, sink } = await bridge.until(() => true)
      scene.expect(sink.blocked && state === 'blocked', 'I8', `${state}, sink ${sink.state}, at the end of the alarm`)
      const [slot] = await scene.query('SELECT active FROM pg_replication_slots WHERE slot_name = $1', [scene.slot])
      // An unread socket can stall PostgreSQL's checkpoints for minutes.
      if (seconds > letGo_s) scene.expect(slot?.active === false, 'I10', 'the replication socket was not let go')
      const begun = performance.now()
      await scene.query('CHECKPOINT')
      checkpoint = Math.max(checkpoint, performance.now() - begun)
    } finally {
      await clear(scene)
    }
    await scene.recovers(`the alarm is over ${run}`, 15_000)
  }
  scene.bound('I10', 'checkpoint of PostgreSQL while the broker blocks', checkpoint, checkpointBound)
  return sparing(scene, losses, await scene.finish({ runs, note: `checkpoint ${(checkpoint / 1000).toFixed(1)} s` }))
}

/** No connection to the broker was given up for an alarm, and nothing was sent twice. */
function sparing(scene: Scene, lossesBefore: number, figures: Figures): Figures {
  const violations = [...figures.violations]
  const lost = scene.bridge.brokerLosses - lossesBefore
  // The graceful stop at the end closes it too, without a line in the log.
  if (lost > 0) violations.push({ invariant: 'I8', what: 'connections given up during an alarm', count: lost })
  if (figures.repeated > 0)
    violations.push({ invariant: 'I4', what: 'repeats after an alarm', count: figures.repeated })
  return { ...figures, violations }
}

/** One call: rabbitmqctl itself takes two seconds to start. */
function flapping(times: number): string {
  const set = (fraction: string) => `vm_memory_monitor:set_vm_memory_high_watermark(${fraction}), timer:sleep(700)`
  return `[begin ${set('0.00001')}, ${set('0.4')} end || _ <- lists:seq(1, ${times})].`
}
