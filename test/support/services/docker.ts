import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { GenericContainer } from 'testcontainers'
import { freePort } from './ports.ts'
import { reasonOf } from './say.ts'

/** Undefined when an engine answers, else why Docker is not used. WAL2RABBIT_TEST_SERVICES=local or docker decides. */
export async function dockerUnavailable(): Promise<string | undefined> {
  const asked = process.env.WAL2RABBIT_TEST_SERVICES
  if (asked === 'local') return 'as WAL2RABBIT_TEST_SERVICES=local asks'
  if (asked !== 'docker' && !mayHaveEngine()) return 'no Docker engine here'
  try {
    await (await client()).container.dockerode.ping()
    return undefined
  } catch (error) {
    if (asked === 'docker') throw new Error('WAL2RABBIT_TEST_SERVICES=docker, but no engine answers', { cause: error })
    return `no Docker engine answers (${reasonOf(error).split('\n')[0]})`
  }
}

/** Loading testcontainers takes a second: looked for first. */
function mayHaveEngine(): boolean {
  if (process.env.DOCKER_HOST || process.env.TESTCONTAINERS_HOST_OVERRIDE) return true
  const sockets = [
    '/var/run/docker.sock',
    join(homedir(), '.docker/run/docker.sock'),
    join(homedir(), '.docker/desktop/docker.sock'),
  ]
  const runtime = process.env.XDG_RUNTIME_DIR
  if (runtime !== undefined) sockets.push(join(runtime, 'docker.sock'))
  return sockets.some((socket) => existsSync(socket)) || existsSync(join(homedir(), '.testcontainers.properties'))
}

async function client() {
  return (await import('testcontainers')).getContainerRuntimeClient()
}

/** A container that can be stopped, killed and started again with its data and its ports on this machine. */
export interface ServiceContainer {
  readonly id: string
  readonly host: string
  running(): boolean
  start(): Promise<void>
  /** Sends the signal and waits until the container ended; `KILL` is a crash. */
  end(signal: string): Promise<void>
  pause(): Promise<void>
  resume(): Promise<void>
  remove(): Promise<void>
}

export interface ContainerPlan {
  readonly image: string
  /** Port inside → port of this machine. */
  readonly ports: ReadonlyMap<number, number>
  readonly ready: RegExp
  /** How many times the line of `ready` comes at the first start. */
  readonly readyCount: number
  prepare(container: GenericContainer): void
}

/** Starts the container; testcontainers' own reaper removes it should this process be killed. */
export async function runContainer(plan: ContainerPlan): Promise<ServiceContainer> {
  const { GenericContainer: Container, Wait } = await import('testcontainers')
  const container = new Container(plan.image)
    .withExposedPorts(...[...plan.ports].map(([inside, host]) => ({ container: inside, host })))
    .withWaitStrategy(Wait.forLogMessage(plan.ready, plan.readyCount))
    .withStartupTimeout(180_000)
    .withAutoRemove(false)
  plan.prepare(container)
  const started = await container.start()
  const handle = (await client()).container.getById(started.getId())
  let running = true
  return {
    id: started.getId(),
    host: started.getHost(),
    running: () => running,
    start: async () => {
      await handle.start()
      running = true
    },
    end: async (signal) => {
      if (!running) return
      const ended = handle.wait()
      await handle.kill({ signal })
      await ended
      running = false
    },
    pause: async () => handle.pause(),
    resume: async () => handle.unpause(),
    remove: async () => handle.remove({ force: true, v: true }),
  }
}

/** Free ports of this machine for the ports of a container. */
export async function portsFor(inside: readonly number[]): Promise<Map<number, number>> {
  const ports = new Map<number, number>()
  for (const port of inside) ports.set(port, await freePort())
  return ports
}

/** Standard output of a command inside; any other exit code than 0 is an error. */
export async function execInContainer(id: string, command: readonly string[]): Promise<string> {
  const { container } = await client()
  const result = await container.exec(container.getById(id), [...command])
  if (result.exitCode !== 0)
    throw new Error(`${command.join(' ')} in a container: exit code ${result.exitCode}: ${result.output}`)
  return result.stdout
}
