import { writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { uniqueName } from '../../support/services.ts'
import type { Rig } from '../rig/rig.ts'
import { Scene } from '../rig/scene.ts'
import type { SceneOptions } from '../rig/scene-options.ts'
import { makeSceneParts } from '../rig/scene-parts.ts'
import { brokerUser, type RabbitServer } from '../rig/server.ts'
import { type Row, sumFigures } from '../row.ts'

/** A halt that somebody may mend is looked at again after 30 s. */
const mendBound = 45_000
/** Four bridges at once share two processors with both servers. */
const load = { rate: 100, writers: 2 }

export const accessRows: readonly Row[] = [
  {
    id: 'F60',
    title: 'four bridges: permission revoked, password changed, user deleted, virtual host deleted; mended later',
    expect: 'H',
    timeout: 400,
    async run(rig, { seed, runs }) {
      const rabbit = await rig.servers.rabbit()
      const [writer, rotated, removed, host] = [
        uniqueName('writer'),
        uniqueName('rotated'),
        uniqueName('removed'),
        uniqueName('host'),
      ]
      rig.onCleanup(() => evaluate(rabbit, ...[writer, rotated, removed].map(deleteUser), deleteHost(host)))
      await evaluate(
        rabbit,
        ...[writer, rotated, removed].flatMap((name) => [addUser(name), allow(name, '/')]),
        addHost(host),
        allow(brokerUser.name, host),
      )

      const folder = await mkdtemp(join(tmpdir(), 'wal2rabbit-faults-'))
      rig.onCleanup(() => rm(folder, { recursive: true }))
      const passwordFile = join(folder, 'url')
      writeFileSync(passwordFile, asUser(rabbit.url, rotated))
      const byFile = async (env: Record<string, string>) => {
        delete env.WAL2RABBIT_SINK_URL
        env.WAL2RABBIT_SINK_URL_FILE = passwordFile
      }
      const permission = await sceneWith(rig, { seed, load }, { ...rabbit, url: asUser(rabbit.url, writer) })
      const password = await sceneWith(rig, { seed, load, beforeInit: byFile }, rabbit)
      const user = await sceneWith(rig, { seed, load }, { ...rabbit, url: asUser(rabbit.url, removed) })
      const inHost = { ...rabbit, url: `${rabbit.url}/${host}`, directUrl: `${rabbit.directUrl}/${host}` }
      const vhost = await sceneWith(rig, { seed, load }, inHost)
      const scenes = [permission, password, user, vhost]
      for (const scene of scenes) await scene.start()

      for (let run = 1; run <= runs; run++) {
        for (const scene of scenes) await scene.flow(100)
        // What lies in a virtual host goes with it.
        vhost.load.pause()
        await vhost.recovers('all has arrived', 10_000)
        await evaluate(
          rabbit,
          disallowWriting(writer, '/'),
          changePassword(rotated, run),
          deleteUser(removed),
          deleteHost(host),
        )
        vhost.load.resume()
        // A channel keeps its permissions for a while, a connection its login for ever.
        rabbit.proxy.reset()
        await Promise.all([
          permission.halts('SINK_PERMISSION_DENIED'),
          password.halts('SINK_AUTH_FAILED'),
          user.halts('SINK_AUTH_FAILED'),
          vhost.halts('SINK_AUTH_FAILED'),
        ])
        await evaluate(
          rabbit,
          allow(writer, '/'),
          addUser(removed),
          allow(removed, '/'),
          addHost(host),
          allow(brokerUser.name, host),
        )
        writeFileSync(passwordFile, asUser(rabbit.url, rotated, run))
        await vhost.withChannel(async (channel) => {
          await channel.assertExchange(vhost.exchange, 'topic')
          await channel.assertQueue(vhost.queue, { durable: true, arguments: { 'x-queue-type': 'quorum' } })
          await channel.bindQueue(vhost.queue, vhost.exchange, '#')
        })
        await Promise.all(scenes.map((scene) => scene.recovers(`mended ${run}`, mendBound)))
      }
      const figures = []
      for (const scene of scenes) figures.push(await scene.finish({ runs }))
      return sumFigures(figures)
    },
  },
]

/** As rig.scene(), on a server that is reached by other urls. */
async function sceneWith(rig: Rig, options: SceneOptions, rabbit: RabbitServer): Promise<Scene> {
  const scene = new Scene(
    await makeSceneParts(options, await rig.servers.postgres(), rabbit, (it) => rig.onCleanup(it)),
  )
  rig.scenes.push(scene)
  return scene
}

/** The rig's word for passwords is part of each, so that I11 finds them. */
function passwordOf(name: string, change = 0): string {
  return `${brokerUser.password}-${name}-${change}`
}

function asUser(url: string, name: string, change = 0): string {
  const changed = new URL(url)
  changed.username = name
  changed.password = passwordOf(name, change)
  return changed.href
}

/** All in one call: rabbitmqctl takes two seconds to start. */
async function evaluate({ service }: RabbitServer, ...expressions: readonly string[]): Promise<void> {
  await service.ctl('eval', `${expressions.join(',\n')}, ok.`)
}

const users = 'rabbit_auth_backend_internal'
const by = '<<"rig">>'
const text = (value: string) => `<<"${value}">>`

const addUser = (name: string) => `${users}:add_user(${text(name)}, ${text(passwordOf(name))}, ${by})`
const deleteUser = (name: string) => `catch ${users}:delete_user(${text(name)}, ${by})`
const changePassword = (name: string, change: number) =>
  `${users}:change_password(${text(name)}, ${text(passwordOf(name, change))}, ${by})`
const allow = (name: string, host: string) =>
  `${users}:set_permissions(${text(name)}, ${text(host)}, <<".*">>, <<".*">>, <<".*">>, ${by})`
const disallowWriting = (name: string, host: string) =>
  `${users}:set_permissions(${text(name)}, ${text(host)}, <<".*">>, <<"^$">>, <<".*">>, ${by})`
const addHost = (host: string) => `rabbit_vhost:add(${text(host)}, ${by})`
const deleteHost = (host: string) => `catch rabbit_vhost:delete(${text(host)}, ${by})`
