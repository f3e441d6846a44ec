import { execFile } from 'node:child_process'
import { open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Rig } from '../rig/rig.ts'
import type { Scene } from '../rig/scene.ts'
import type { Figures, Row } from '../row.ts'
import { copyFolder, noFolder, skipped } from './postgres-copies.ts'
import { eachRun, until, writersRest } from './postgres-halt.ts'

const run = promisify(execFile)
const notRoot = 'only root can mount a small disk'
const megabyte = 1024 * 1024

export const diskRows: readonly Row[] = [
  {
    id: 'F44',
    title: 'disk of the data folder full under load, with the WAL; space made, PostgreSQL started again',
    expect: 'R',
    runs: 2,
    async run(rig, { seed, runs }) {
      if (process.getuid?.() !== 0) return skipped(notRoot)
      const scene = await rig.scene({ seed, postgres: { settings: { max_wal_size: '64MB', min_wal_size: '32MB' } } })
      const { service } = scene.postgres
      const folder = service.dataFolder
      if (folder === undefined) return skipped(noFolder)
      await service.stop('fast')
      await mountOver(rig, folder, 250, () => service.stop('immediate'))
      await service.start()
      await scene.start()
      let ended = 0
      for (let round = 1; round <= runs; round++) {
        await scene.flow(200)
        const filler = join(folder, 'filler')
        await fill(filler)
        const refusal = await growTable(scene, round)
        if (refusal !== '53100') throw new Error(`the disk is not full: a new table was answered with ${refusal}`)
        // Then the WAL runs out of segments that can be used again, and PostgreSQL panics.
        await growWal(scene)
        if (!(await answers(scene))) ended++
        await rm(filler)
        // It may be about to end still, for want of room to recover in.
        await until('PostgreSQL with room', 60_000, async () => {
          await service.start()
          return answers(scene)
        })
        await scene.recovers(`there is room again ${round}`, 30_000)
      }
      return scene.finish({ runs, note: `PostgreSQL had ended by itself ${ended} times` })
    },
  },
  {
    id: 'F44',
    title: 'no room for what decoding spills of a large transaction; room made',
    expect: 'R',
    async run(rig, run) {
      if (process.getuid?.() !== 0) return skipped(notRoot)
      return eachRun(run, (seed) => spill(rig, seed))
    },
  },
]

async function spill(rig: Rig, seed: number): Promise<Figures> {
  const scene = await rig.scene({ seed, postgres: { settings: { logical_decoding_work_mem: '64kB' } } })
  const { service } = scene.postgres
  if (service.dataFolder === undefined) return skipped(noFolder)
  const folder = join(service.dataFolder, 'pg_replslot')
  await service.stop('fast')
  await mountOver(rig, folder, 4, () => service.stop('immediate'))
  await service.start()
  await scene.start()
  await scene.flow(200)
  await writersRest(scene)
  // Changes of other tables spill as well: they are decoded before it is known that nobody wants them.
  await scene.query('CREATE TABLE public.bulk (filler text)')
  await scene.query(`INSERT INTO public.bulk SELECT repeat(md5(n::text), 4) FROM generate_series(1, 100000) n`)
  scene.load.resume()
  await scene.bridge.until(
    ({ state, reason }) => state === 'retrying' && reason?.code === 'SOURCE_OUT_OF_RESOURCES',
    60_000,
    'a bridge that is told of the full disk',
  )
  await run('mount', ['-o', 'remount,size=200m', folder])
  await scene.recovers('there is room again', 30_000)
  return scene.finish()
}

/** Mounts so many megabytes over the folder of a stopped server, with what it held. `stop` ends what uses it. */
async function mountOver(rig: Rig, folder: string, size: number, stop: () => Promise<void>): Promise<void> {
  const aside = `${folder}-aside`
  await copyFolder(folder, aside)
  await run('mount', ['-t', 'tmpfs', '-o', `size=${size}m,mode=0700`, 'tmpfs', folder])
  await run('cp', ['-a', `${aside}/.`, folder])
  await rm(aside, { recursive: true })
  rig.onCleanup(async () => {
    await stop()
    await run('umount', ['-l', folder])
  })
}

/** Writes to the end of the disk. */
async function fill(file: string): Promise<void> {
  const handle = await open(file, 'w')
  try {
    const block = Buffer.alloc(megabyte)
    for (;;) await handle.write(block)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error
  } finally {
    await handle.close()
  }
}

async function answers(scene: Scene): Promise<boolean> {
  try {
    await scene.query('SELECT 1')
    return true
  } catch {
    // Not running any more, or about to.
    return false
  }
}

/** The SQLSTATE with which it is refused; undefined when it is not. */
async function growTable(scene: Scene, round: number): Promise<unknown> {
  try {
    await scene.query(`CREATE TABLE public.large_${round} AS SELECT repeat('x', 1000) FROM generate_series(1, 50000)`)
    return undefined
  } catch (error) {
    return error instanceof Error && 'code' in error ? error.code : error
  }
}

/** Writes WAL until that fails. */
async function growWal(scene: Scene): Promise<void> {
  for (let n = 0; n < 100; n++) {
    try {
      await scene.query(`SELECT pg_logical_emit_message(false, 'rig', repeat('x', 4000000))`)
    } catch {
      // PANIC: every connection is gone with it.
      return
    }
  }
  throw new Error('400 MB of WAL fitted on a full disk')
}
