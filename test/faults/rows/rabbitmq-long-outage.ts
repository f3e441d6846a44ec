import { setTimeout as delay } from 'node:timers/promises'
import type { Row } from '../row.ts'

/** Longer than the bridge leaves a replication connection unread (30 s): its session ends with a full window. */
const away = 45_000

export const longOutageRows: readonly Row[] = [
  {
    id: 'F50',
    // Once it stood still for ever after it: only a session may publish, and the next one waited for room in the window.
    title: 'RabbitMQ killed, and away for 45 s',
    expect: 'R',
    runs: 2,
    timeout: 400,
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed })
      await scene.start()
      for (let run = 1; run <= runs; run++) {
        await scene.flow(300)
        await scene.rabbit.service.kill()
        await delay(away)
        await scene.rabbit.service.start()
        await scene.recovers(`RabbitMQ is back ${run}`, 20_000)
      }
      return scene.finish({ runs })
    },
  },
]
