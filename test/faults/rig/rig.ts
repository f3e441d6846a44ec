import { Scene } from './scene.ts'
import type { SceneOptions } from './scene-options.ts'
import { makeSceneParts } from './scene-parts.ts'
import { type PostgresServer, type RabbitServer, startPostgresServer, startRabbitServer } from './server.ts'
import type { ServerName, Servers } from './servers.ts'

/**
 * What a row is given (see ../README.md for its author's view):
 *
 *   rig ── servers: one PostgreSQL and one RabbitMQ for all rows of a run, each behind a proxy that misbehaves on demand
 *    └─ scene: database, exchange, queue, slot of one row
 *         ├─ bridges     processes, connected through the proxies; killed, stopped, armed with fail-points
 *         ├─ load        writers and their ledger: what committed, what did not, what nobody knows     direct
 *         ├─ witness     a second slot: what committed where, in which order                            direct
 *         ├─ consumer    what came out of the queue                                                     direct
 *         └─ monitor     slot, checkpoint, memory and pages while it lasts                              direct
 *
 * scene.finish() hands all of it to the checkers.
 */
export class Rig {
  readonly servers: Servers
  /** Progress, to people. */
  readonly say: (line: string) => void
  readonly scenes: Scene[] = []
  readonly #cleanups: (() => unknown)[] = []

  constructor(servers: Servers, say: (line: string) => void) {
    this.servers = servers
    this.say = say
  }

  /** A fresh scene: `init` was run, and no bridge is started. Several scenes may live at once. */
  async scene(options: SceneOptions): Promise<Scene> {
    const onCleanup = (cleanup: () => unknown): void => this.onCleanup(cleanup)
    const [postgres, rabbit] = await Promise.all([this.#postgresFor(options), this.#rabbitFor(options)])
    const scene = new Scene(await makeSceneParts(options, postgres, rabbit, onCleanup))
    this.scenes.push(scene)
    return scene
  }

  /** Called after the row, the last one first, also when it failed. */
  onCleanup(cleanup: () => unknown): void {
    this.#cleanups.push(cleanup)
  }

  /** Ends what the row left running, and mends the servers. `broken`: those that are to be thrown away. */
  async cleanUp(broken: readonly ServerName[] = []): Promise<void> {
    for (const { bridges, load } of this.scenes) {
      load.abandon()
      for (const bridge of bridges) await bridge.kill()
    }
    await this.servers.mend(broken)
    for (const cleanup of this.#cleanups.splice(0).reverse()) {
      try {
        await cleanup()
      } catch (error) {
        // The row has its result; the next one has names of its own.
        this.say(`cleaning up: ${error instanceof Error ? error.message : String(error)}`)
      }
    }
  }

  async #postgresFor({ postgres }: SceneOptions): Promise<PostgresServer> {
    if (postgres === undefined) return this.servers.postgres()
    const server = await startPostgresServer(postgres)
    this.onCleanup(() => server.dispose())
    return server
  }

  async #rabbitFor({ rabbit }: SceneOptions): Promise<RabbitServer> {
    if (rabbit === undefined) return this.servers.rabbit()
    const server = await startRabbitServer(rabbit)
    this.onCleanup(() => server.dispose())
    return server
  }
}
