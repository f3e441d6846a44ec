import type { StopMode } from '../../support/services.ts'
import type { Scene } from '../rig/scene.ts'
import type { SoakAction } from './actions.ts'

/** A shutdown waits for walsenders, and these for bridges that may be paused or black-holed: PostgreSQL's own timeout ends it. */
const shutdownBound = 60_000

export const postgresActions: readonly SoakAction[] = [
  {
    name: 'PostgreSQL killed',
    needs: ['postgres'],
    async run({ scene: { postgres }, hold }) {
      await postgres.service.kill()
      await hold(0, 2000)
      await postgres.service.start()
    },
  },
  restart('fast'),
  restart('immediate'),
  {
    name: 'PostgreSQL paused by SIGSTOP',
    needs: ['postgres'],
    async run({ scene: { postgres }, hold }) {
      await postgres.service.pause()
      await hold(500, 6000)
      await postgres.service.resume()
    },
  },
  ...['wal2rabbit', 'wal2rabbit checkpoint', 'wal2rabbit%'].map(
    (application): SoakAction => ({
      name: `pg_terminate_backend on ${application}`,
      needs: ['postgres'],
      run: async ({ scene }) =>
        void (await scene.query(
          'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND application_name LIKE $2',
          [scene.database, application],
        )),
    }),
  ),
]

function restart(mode: StopMode): SoakAction {
  return {
    name: `PostgreSQL restarted (${mode})`,
    needs: ['postgres'],
    async run({ scene, hold }) {
      const begun = performance.now()
      await scene.postgres.service.stop(mode)
      scene.bound('I10', `${mode} shutdown of PostgreSQL`, performance.now() - begun, shutdownBound)
      await hold(0, 2000)
      await scene.postgres.service.start()
    },
  }
}

export const rabbitActions: readonly SoakAction[] = [
  {
    name: 'RabbitMQ killed',
    needs: ['rabbit', 'queue'],
    async run({ scene: { rabbit }, hold }) {
      await rabbit.service.kill()
      await hold(0, 2000)
      await rabbit.service.start()
    },
  },
  {
    name: 'RabbitMQ restarted',
    needs: ['rabbit', 'queue'],
    async run({ scene: { rabbit } }) {
      await rabbit.service.restart()
    },
  },
  {
    name: 'RabbitMQ paused by SIGSTOP',
    needs: ['rabbit', 'queue'],
    async run({ scene, hold }) {
      await scene.rabbit.service.pause()
      // Bytes in its sockets are read when it goes on, and a bridge may have been replaced meanwhile.
      scene.mayRunStale(2 * scene.parts.window)
      await hold(500, 8000)
      await scene.rabbit.service.resume()
    },
  },
  control('stop_app', ['stop_app'], ['start_app']),
  control('all connections closed', ['close_all_connections', 'rig']),
  control('memory alarm', ['set_vm_memory_high_watermark', '0.00001'], ['set_vm_memory_high_watermark', '0.4']),
  control('disk alarm', ['set_disk_free_limit', 'mem_relative', '1000'], ['set_disk_free_limit', '50MB']),
  {
    name: 'queue full, publishes nacked',
    needs: ['rabbit', 'queue'],
    async run({ scene, hold }) {
      await limitQueue(scene, [
        'set_policy',
        'rig',
        `^${scene.queue}$`,
        '{"max-length":20,"overflow":"reject-publish"}',
      ])
      await scene.consumer.pause()
      await hold(500, 4000)
      scene.consumer.resume()
      await limitQueue(scene, ['clear_policy', 'rig'])
    },
  },
  {
    name: 'queue unbound',
    needs: ['rabbit', 'queue'],
    async run({ scene, hold }) {
      const { queue, exchange } = scene
      await scene.withChannel((channel) => channel.unbindQueue(queue, exchange, '#'))
      await hold(200, 3000)
      await scene.withChannel((channel) => channel.bindQueue(queue, exchange, '#'))
    },
  },
]

function control(name: string, fault: readonly string[], mend?: readonly string[]): SoakAction {
  return {
    name: `RabbitMQ: ${name}`,
    needs: ['rabbit', 'queue'],
    async run({ scene: { rabbit }, hold }) {
      await rabbit.service.ctl(...fault)
      if (mend === undefined) return
      await hold(500, 6000)
      await rabbit.service.ctl(...mend)
    },
  }
}

async function limitQueue({ rabbit }: Scene, args: readonly string[]): Promise<void> {
  await rabbit.service.ctl(...args)
}
