import { type ConfirmChannel, connect } from 'amqplib'
import { FakeAmqpServer, type FakePublish } from '../../support/fake-amqp-server.ts'
import type { Rig } from '../rig/rig.ts'
import type { Scene } from '../rig/scene.ts'
import type { SceneOptions } from '../rig/scene-options.ts'

/**
 * Stands between the bridge and the broker: takes publishes as a broker would, hands those that it "stores" on to the
 * real one, so that the rig sees them in the queue, and answers as a script says, which a real one would never do.
 */
export class ScriptedBroker {
  readonly server: FakeAmqpServer
  /** What becomes of each publish: by default it is stored and then confirmed. */
  onPublish: (publish: FakePublish) => void = (publish) => this.storeAndConfirm(publish)
  readonly #channel: ConfirmChannel

  constructor(server: FakeAmqpServer, channel: ConfirmChannel) {
    this.server = server
    this.#channel = channel
    server.script = { onPublish: (publish) => this.onPublish(publish) }
  }

  storeAndConfirm(publish: FakePublish): void {
    this.store(publish, () => publish.connection.ack(publish.tag))
  }

  /** Calls back once the real broker has confirmed it: stored then means stored. */
  store({ exchange, routingKey, properties, body }: FakePublish, onStored: () => void = () => undefined): void {
    this.#channel.publish(exchange, routingKey, body, { ...properties }, (error: unknown) => {
      if (error === null || error === undefined) onStored()
    })
  }

  /** A script for some publishes, from the next one on; then all are stored and confirmed again. */
  script(onPublish: (publish: FakePublish, n: number) => void): void {
    let n = 0
    this.onPublish = (publish) => onPublish(publish, ++n)
  }

  behave(): void {
    this.onPublish = (publish) => this.storeAndConfirm(publish)
  }
}

/** A scene whose bridges publish to a scripted broker in front of the real one. */
export async function scriptedScene(
  rig: Rig,
  options: SceneOptions,
): Promise<{ readonly scene: Scene; readonly broker: ScriptedBroker }> {
  const server = await FakeAmqpServer.start()
  rig.onCleanup(() => server.close())
  const { directUrl } = await rig.servers.rabbit()
  const connection = await connect(directUrl)
  rig.onCleanup(() => connection.close())
  const channel = await connection.createConfirmChannel()
  const broker = new ScriptedBroker(server, channel)
  const scene = await rig.scene({
    ...options,
    env: { ...options.env, WAL2RABBIT_SINK_URL: server.url },
    async beforeInit({ WAL2RABBIT_SINK_EXCHANGE: exchange = '' }) {
      await channel.assertExchange(exchange, 'topic')
    },
  })
  return { scene, broker }
}
