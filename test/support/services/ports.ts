import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'

const taken = new Set<number>()

/**
 * A free port of 127.0.0.1 below the range that the kernel gives to outgoing connections, so that nobody gets it while
 * its server is stopped and started again.
 */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const port = randomInt(20_000, 32_000)
    if (taken.has(port) || !(await isFree(port))) continue
    taken.add(port)
    return port
  }
  throw new Error('no free port of 127.0.0.1 between 20000 and 32000 after 100 attempts')
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => probe.close(() => resolve(true)))
  })
}
