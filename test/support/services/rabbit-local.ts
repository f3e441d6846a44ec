import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { RabbitControl, RabbitOptions, RabbitService } from './contract.ts'
import { type Daemon, startDaemon, untilReady } from './daemon.ts'
import { serviceFolder } from './folders.ts'
import { killProcessesOf, removeService, signalProcessesOf } from './keeper.ts'
import { brokerAnswers, saveQuorumNames, untilQuorumsElected } from './rabbit-answers.ts'
import { runControl } from './rabbit-control.ts'
import type { RabbitInstallation } from './rabbit-installation.ts'
import { layOutNode, type RabbitNode } from './rabbit-node.ts'

const startBound = 180_000

/** A private node in a temporary folder, laid out but not yet started. */
export async function createLocalRabbit(
  installation: RabbitInstallation,
  options: RabbitOptions,
  why: string,
): Promise<RabbitService> {
  const folder = serviceFolder('rabbitmq', undefined, installation.nodesIn)
  const node = await layOutNode(folder, options, installation.inside)
  return new LocalRabbit(node, installation, `RabbitMQ ${installation.version} ${installation.origin}, ${why}`)
}

class LocalRabbit implements RabbitService {
  readonly url: string
  readonly port: number
  readonly tlsUrl: string | undefined
  readonly version: string
  readonly chosen: string
  readonly control: RabbitControl
  readonly #node: RabbitNode
  readonly #server: readonly [string, ...string[]]
  #daemon: Daemon | undefined
  #isPaused = false

  constructor(node: RabbitNode, installation: RabbitInstallation, chosen: string) {
    const program = (name: string): [string, ...string[]] => {
      const [first, ...rest] = [...installation.prefix, join(installation.folder, name)]
      return [first ?? name, ...rest]
    }
    this.#node = node
    this.#server = program('rabbitmq-server')
    this.port = node.port
    this.url = `amqp://guest:guest@127.0.0.1:${node.port}`
    this.tlsUrl = node.tlsPort === undefined ? undefined : `amqps://guest:guest@localhost:${node.tlsPort}`
    this.version = installation.version
    this.chosen = chosen
    this.control = { kind: 'command', command: program('rabbitmqctl'), env: node.env }
  }

  async start(): Promise<void> {
    if (this.#daemon?.running()) return
    const { folder, env } = this.#node
    const logFile = join(folder, 'rabbitmq.log')
    const isRestart = this.#daemon !== undefined
    const daemon = await startDaemon({ command: this.#server, env, cwd: folder, logFile })
    this.#daemon = daemon
    await untilReady('RabbitMQ', daemon, logFile, startBound, () => brokerAnswers(this.url))
    if (isRestart) await untilQuorumsElected((...args) => this.ctl(...args))
  }

  /** SIGTERM is the node's orderly shutdown, without the two seconds that a rabbitmqctl takes to start. */
  async stop(): Promise<void> {
    if (!this.#daemon?.running()) return
    this.#daemon.signal('SIGTERM')
    await this.#daemon.ended()
    await killProcessesOf(this.#node.folder)
  }

  async kill(): Promise<void> {
    if (this.#daemon?.running() && !this.#isPaused) await saveQuorumNames((...args) => this.ctl(...args))
    this.#isPaused = false
    this.#daemon?.signal('SIGKILL')
    await killProcessesOf(this.#node.folder)
    await this.#daemon?.ended()
  }

  async restart(): Promise<void> {
    await this.stop()
    await this.start()
  }

  async pause(): Promise<void> {
    this.#isPaused = true
    await signalProcessesOf(this.#node.folder, 'STOP')
  }

  async resume(): Promise<void> {
    await signalProcessesOf(this.#node.folder, 'CONT')
    this.#isPaused = false
  }

  ctl(...args: string[]): Promise<string> {
    return runControl(this.control, args)
  }

  async dispose(): Promise<void> {
    if (existsSync(this.#node.folder)) await removeService(this.#node.folder)
  }
}
