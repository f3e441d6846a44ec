import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import pg from 'pg'
import type { Rig } from '../rig/rig.ts'
import type { Scene } from '../rig/scene.ts'
import type { SceneOptions } from '../rig/scene-options.ts'
import { databasePassword, urlOfDatabase } from '../rig/server.ts'
import type { Row } from '../row.ts'

const role = 'wal2rabbit'
const rolesFile = resolve(import.meta.dirname, '../../../sql/roles.sql')
/** A halt that may be mended is looked at every 30 seconds. */
const mended_ms = 45_000
const strict = { hba: [`host all ${role} all scram-sha-256`], settings: { max_wal_senders: '4' } } as const

export const accessRows: readonly Row[] = [
  {
    id: 'F39',
    title: 'password rotated, its file written before',
    expect: 'R',
    runs: 3,
    async run(rig, { seed, runs }) {
      const { scene, setPassword, writeUrl } = await asRole(rig, { seed, postgres: strict })
      for (let run = 1; run <= runs; run++) {
        await scene.flow(100)
        await writeUrl(`${databasePassword}-${run}`)
        await setPassword(`${databasePassword}-${run}`)
        await cutRole(scene)
        await scene.recovers(`rotated ${run}`, 10_000)
      }
      return scene.finish({ runs })
    },
  },
  {
    id: 'F39',
    title: 'password rotated, its file written after the halt',
    expect: 'R',
    async run(rig, { seed, runs }) {
      const { scene, setPassword, writeUrl } = await asRole(rig, { seed, postgres: strict })
      for (let run = 1; run <= runs; run++) {
        await scene.flow(100)
        await setPassword(`${databasePassword}-late-${run}`)
        await cutRole(scene)
        await scene.halts('SOURCE_AUTH_FAILED')
        await writeUrl(`${databasePassword}-late-${run}`)
        await scene.recovers(`the file has the new password ${run}`, mended_ms)
      }
      return scene.finish({ runs })
    },
  },
  permissionRow(
    'role without REPLICATION, given back',
    `ALTER ROLE ${role} NOREPLICATION`,
    `ALTER ROLE ${role} REPLICATION`,
  ),
  permissionRow(
    'UPDATE on the checkpoint revoked, given back',
    `REVOKE UPDATE ON wal2rabbit.checkpoint FROM ${role}`,
    `GRANT UPDATE ON wal2rabbit.checkpoint TO ${role}`,
  ),
  {
    id: 'F39',
    title: 'walsenders exhausted by others',
    expect: 'R',
    runs: 2,
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed, postgres: strict })
      await scene.start()
      const { proxy } = scene.postgres
      for (let run = 1; run <= runs; run++) {
        await scene.flow(100)
        await proxy.refuse(true)
        proxy.reset()
        const release = await takeWalsenders(rig, scene)
        await proxy.refuse(false)
        await scene.bridge.until(
          ({ state, reason }) => state === 'retrying' && reason?.code === 'SOURCE_TOO_MANY_CONNECTIONS',
          30_000,
          'a bridge without a walsender',
        )
        await release()
        await scene.recovers(`walsenders are free ${run}`, 20_000)
      }
      return scene.finish({ runs })
    },
  },
]

function permissionRow(title: string, take: string, give: string): Row {
  return {
    id: 'F39',
    title,
    expect: 'R',
    async run(rig, { seed, runs }) {
      const { scene } = await asRole(rig, { seed, postgres: strict })
      for (let run = 1; run <= runs; run++) {
        await scene.flow(100)
        await scene.query(take)
        await cutRole(scene)
        await scene.halts('SOURCE_PERMISSION_DENIED')
        await scene.query(give)
        await scene.recovers(`given back ${run}`, mended_ms)
      }
      return scene.finish({ runs })
    },
  }
}

/** A scene whose bridge streams as the role of sql/roles.sql, with a password, and finds its url in a file. */
async function asRole(rig: Rig, options: SceneOptions) {
  const scene = await rig.scene(options)
  const folder = await mkdtemp(join(tmpdir(), 'wal2rabbit-faults-url-'))
  rig.onCleanup(() => rm(folder, { recursive: true }))
  const file = join(folder, 'source-url')
  const writeUrl = async (password: string): Promise<void> => {
    const url = new URL(urlOfDatabase(scene.postgres.url, scene.database))
    url.username = role
    url.password = password
    await writeFile(file, `${url.href}\n`)
  }
  const setPassword = async (password: string): Promise<void> => {
    await scene.query(`ALTER ROLE ${role} PASSWORD '${password}'`)
  }
  await scene.query(await readFile(rolesFile, 'utf8'))
  await setPassword(databasePassword)
  await writeUrl(databasePassword)
  scene.bridge.start({ env: { WAL2RABBIT_SOURCE_URL: '', WAL2RABBIT_SOURCE_URL_FILE: file } })
  await scene.start()
  return { scene, writeUrl, setPassword }
}

/** Ends all connections of the role: what is refused is seen by new ones only. */
async function cutRole(scene: Scene): Promise<void> {
  await scene.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1', [role])
}

/** Takes walsenders until none is left; the function that it gives lets them go. */
async function takeWalsenders(rig: Rig, scene: Scene): Promise<() => Promise<void>> {
  const connectionString = `${urlOfDatabase(scene.postgres.directUrl, scene.database)}?replication=database`
  const taken: pg.Client[] = []
  const release = async (): Promise<void> => {
    await Promise.all(taken.splice(0).map((client) => client.end().catch(() => undefined)))
  }
  rig.onCleanup(release)
  for (let refused = false; !refused; ) {
    const client = new pg.Client({ connectionString })
    client.on('error', () => undefined)
    try {
      await client.connect()
      taken.push(client)
    } catch (error) {
      await client.end().catch(() => undefined)
      if (!(error instanceof pg.DatabaseError) || error.code !== '53300') throw error
      // The bridge's own may not have ended yet.
      const [row] = await scene.query('SELECT active FROM pg_replication_slots WHERE slot_name = $1', [scene.slot])
      refused = row?.active === false
    }
  }
  return release
}
