import { execFile, spawn } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { constants, setPriority } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Row } from '../row.ts'

const run = promisify(execFile)
/** Loops that do nothing but take the processors away. */
const loops = 4

export const limitRows: readonly Row[] = [
  {
    id: 'F83',
    title: 'no file descriptors left while both links are cut: no connection comes about until there are some',
    expect: 'R',
    runs: 2,
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed })
      const { bridge } = scene
      await scene.start()
      for (let round = 1; round <= runs; round++) {
        await scene.flow(200)
        const { pid } = bridge
        if (pid === undefined) throw new Error('the bridge does not run')
        // Those that are open stay open; a new one must have a number below the limit.
        await limitFiles(pid, await lowestNumber(pid))
        scene.postgres.proxy.reset()
        scene.rabbit.proxy.reset()
        await delay(5000)
        await limitFiles(pid, 1024)
        await bridge.until(({ state }) => state === 'streaming', 30_000, 'streaming')
        scene.expect(bridge.isRunning && bridge.pid === pid, 'I8', 'the process ended')
        await scene.recovers(`there are descriptors again ${round}`, 20_000)
      }
      const refusals = bridge.log.split('EMFILE').length - 1
      scene.expect(refusals > 0, 'I8', 'nothing was refused for want of descriptors')
      return scene.finish({ runs, note: `${refusals} times EMFILE in the log` })
    },
  },
  {
    id: 'F83',
    title: 'hardly more file descriptors than are in use, both links cut',
    expect: 'R',
    runs: 3,
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed })
      const { bridge } = scene
      await scene.start()
      await scene.flow(200)
      const { pid } = bridge
      if (pid === undefined) throw new Error('the bridge does not run')
      // Four for who asks for its pages. Node itself needs over a hundred to load the program, so not from its start.
      await limitFiles(pid, (await highestNumber(pid)) + 1 + 4)
      for (let round = 1; round <= runs; round++) {
        await scene.flow(100)
        scene.postgres.proxy.reset()
        scene.rabbit.proxy.reset()
        await scene.recovers(`connections made with few descriptors ${round}`, 15_000)
      }
      return scene.finish({ runs })
    },
  },
  {
    id: 'F83',
    title: `CPU starved: lowest priority beside ${loops} busy loops for 15 s`,
    expect: 'R',
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed, load: { rate: 200 } })
      const { bridge } = scene
      await scene.start()
      for (let round = 1; round <= runs; round++) {
        await scene.flow(200)
        const before = await bridge.until(() => true)
        if (bridge.pid !== undefined) setPriority(bridge.pid, constants.priority.PRIORITY_LOW)
        const stop = startLoops()
        rig.onCleanup(stop)
        await delay(15_000)
        stop()
        await scene.recovers(`the processors are free again ${round}`, 20_000)
        const after = await bridge.until(() => true)
        const sessions = after.counters.reconnects.source - before.counters.reconnects.source
        const channels = after.counters.reconnects.sink - before.counters.reconnects.sink
        scene.bound('I8', 'reconnects of a process that is only slow', sessions + channels, 0)
      }
      return scene.finish({ runs })
    },
  },
]

/** Soft limit only: it may be raised again. */
async function limitFiles(pid: number, count: number): Promise<void> {
  await run('prlimit', ['--pid', String(pid), `--nofile=${count}:`])
}

/** The lowest limit that leaves no number free below it. */
async function lowestNumber(pid: number): Promise<number> {
  const open = new Set((await readdir(`/proc/${pid}/fd`)).map(Number))
  let free = 0
  while (open.has(free)) free++
  return free
}

async function highestNumber(pid: number): Promise<number> {
  return Math.max(...(await readdir(`/proc/${pid}/fd`)).map(Number))
}

function startLoops(): () => void {
  const children = Array.from({ length: loops }, () =>
    spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' }),
  )
  return () => {
    for (const child of children) child.kill('SIGKILL')
  }
}
