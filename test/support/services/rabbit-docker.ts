import type { RabbitControl, RabbitOptions, RabbitService } from './contract.ts'
import { execInContainer, portsFor, runContainer, type ServiceContainer } from './docker.ts'
import { saveQuorumNames, untilBrokerAnswers, untilQuorumsElected } from './rabbit-answers.ts'

const images: Readonly<Record<number, string>> = { 3: 'rabbitmq:3.13', 4: 'rabbitmq:4' }

/** The official image, already started. Its host name is fixed: data of a node is bound to the node's name. */
export async function createDockerRabbit(major: number, options: RabbitOptions): Promise<RabbitService> {
  const image = images[major]
  if (image === undefined) throw new Error(`RabbitMQ ${major} was asked for: 3 and 4 are known`)
  const { tls } = options
  const ports = await portsFor(tls === undefined ? [5672] : [5672, 5671])
  const container = await runContainer({
    image,
    ports,
    ready: /Server startup complete/,
    readyCount: 1,
    prepare: (it) => {
      it.withHostname('wal2rabbit')
      it.withCopyContentToContainer([
        { content: configuration(options), target: '/etc/rabbitmq/conf.d/90-wal2rabbit.conf', mode: 0o644 },
        { content: `[${(options.plugins ?? []).join(',')}].\n`, target: '/etc/rabbitmq/enabled_plugins', mode: 0o644 },
      ])
      if (tls !== undefined) {
        it.withCopyFilesToContainer([
          { source: tls.cert, target: '/wal2rabbit/cert.pem', mode: 0o644 },
          { source: tls.key, target: '/wal2rabbit/key.pem', mode: 0o644 },
          { source: tls.ca, target: '/wal2rabbit/ca.pem', mode: 0o644 },
        ])
      }
    },
  })
  const version = (await execInContainer(container.id, ['rabbitmqctl', 'version'])).trim()
  return new DockerRabbit(container, ports, version, image)
}

function configuration(options: RabbitOptions): string {
  const lines = [...(options.config ?? [])]
  if (options.tls !== undefined) {
    lines.push(
      'listeners.ssl.default = 5671',
      'ssl_options.cacertfile = /wal2rabbit/ca.pem',
      'ssl_options.certfile = /wal2rabbit/cert.pem',
      'ssl_options.keyfile = /wal2rabbit/key.pem',
      'ssl_options.verify = verify_none',
      'ssl_options.fail_if_no_peer_cert = false',
    )
  }
  return `${lines.join('\n')}\n`
}

class DockerRabbit implements RabbitService {
  readonly url: string
  readonly port: number
  readonly tlsUrl: string | undefined
  readonly version: string
  readonly chosen: string
  readonly control: RabbitControl
  readonly #container: ServiceContainer

  constructor(container: ServiceContainer, ports: ReadonlyMap<number, number>, version: string, image: string) {
    this.#container = container
    this.port = ports.get(5672) ?? 0
    this.url = `amqp://guest:guest@${container.host}:${this.port}`
    const tlsPort = ports.get(5671)
    this.tlsUrl = tlsPort === undefined ? undefined : `amqps://guest:guest@${container.host}:${tlsPort}`
    this.version = version
    this.chosen = `RabbitMQ ${version} in Docker (${image}), an engine answers`
    this.control = { kind: 'container', id: container.id }
  }

  async start(): Promise<void> {
    if (this.#container.running()) return
    await this.#container.start()
    await untilBrokerAnswers(this.url, 120_000)
    await untilQuorumsElected((...args) => this.ctl(...args))
  }

  stop(): Promise<void> {
    return this.#container.end('SIGTERM')
  }

  async kill(): Promise<void> {
    if (this.#container.running()) await saveQuorumNames((...args) => this.ctl(...args))
    await this.#container.end('SIGKILL')
  }

  async restart(): Promise<void> {
    await this.stop()
    await this.start()
  }

  pause(): Promise<void> {
    return this.#container.pause()
  }

  resume(): Promise<void> {
    return this.#container.resume()
  }

  ctl(...args: string[]): Promise<string> {
    return execInContainer(this.#container.id, ['rabbitmqctl', ...args])
  }

  dispose(): Promise<void> {
    return this.#container.remove()
  }
}
