import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'

const taken = new Set<number>()
/** A range for each worker of a test run, so that none takes the port of a server that another one has stopped for a while. */
const width = 3000
const lowest = 20_000 + (Number(process.env.VITEST_POOL_ID ?? 0) % 4) * width

/**
 * A free port of 127.0.0.1 below the range that the kernel gives to outgoing connections, so that nobody gets it while
 * its server is stopped and started again.
 */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const port = randomInt(lowest, lowest + width)
    if (taken.has(port) || !(await isFree(port))) continue
    taken.add(port)
    return port
  }
  throw new Error(`no free port of 127.0.0.1 between ${lowest} and ${lowest + width} after 100 attempts`)
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => probe.close(() => resolve(true)))
  })
}
