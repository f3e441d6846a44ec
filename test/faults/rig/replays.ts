import { formatLsn, type Lsn, parseLsn } from '../../../src/base/lsn.ts'
import { startTcpProxy, type TcpProxy } from '../../support/tcp-proxy.ts'
import { comparePlaces, firstDeliveries } from '../checkers/history.ts'
import { checkReplayed, replayedAgain } from '../checkers/replayed.ts'
import { checkSecrets } from '../checkers/secrets.ts'
import { violationOf } from '../checkers/violation.ts'
import { Consumer } from './consumer.ts'
import type { DrainedQueue } from './queues.ts'
import { RigReplay } from './replay.ts'
import type { Scene } from './scene.ts'
import { secrets } from './scene-parts.ts'
import { stretched } from './stretch.ts'

export interface ReplayAsked {
  readonly from: Lsn
  /** The live stored LSN of the moment it begins when absent. */
  readonly to?: Lsn
  /** Events a second. */
  readonly rate?: number
}

/** A store is due every second, and takes a round trip; milliseconds. */
const storeInterval = () => 1000 + stretched(500)

/** The replays of a scene, one after the other, to an exchange and a queue of their own: live checkers see none of it. */
export class Replays {
  /** Their own link to RabbitMQ: what breaks there does not touch the bridge. */
  readonly link: TcpProxy
  readonly #scene: Scene
  readonly #queue: DrainedQueue
  readonly #replays: RigReplay[] = []

  private constructor(scene: Scene, queue: DrainedQueue, link: TcpProxy) {
    this.link = link
    this.#scene = scene
    this.#queue = queue
  }

  /** Declares where they go. */
  static async open(scene: Scene, onCleanup: (cleanup: () => unknown) => void): Promise<Replays> {
    const name = exchangeOf(scene)
    await scene.withChannel(async (channel) => {
      await channel.assertExchange(name, 'topic', { durable: true })
      await channel.assertQueue(name, { durable: true, arguments: { 'x-queue-type': 'quorum' } })
      await channel.bindQueue(name, name, '#')
    })
    onCleanup(() =>
      scene.withChannel(async (channel) => {
        await channel.deleteQueue(name)
        await channel.deleteExchange(name)
      }),
    )
    const consumer = new Consumer(scene.rabbit.directUrl, name)
    onCleanup(() => consumer.stop())
    await consumer.start()
    const link = await startTcpProxy(scene.rabbit.directUrl)
    onCleanup(() => link.close())
    return new Replays(scene, { name, consumer }, link)
  }

  /** One that is not started yet. */
  of({ from, to, rate }: ReplayAsked): RigReplay {
    const args = [
      ...['--source', 'wal', '--from', formatLsn(from), '--exchange', exchangeOf(this.#scene)],
      ...(to === undefined ? [] : ['--to', formatLsn(to)]),
      ...(rate === undefined ? [] : ['--rate', String(rate)]),
    ]
    const replay: RigReplay = new RigReplay({
      scene: this.#scene,
      queue: this.#queue,
      args,
      env: { ...this.#scene.bridge.env, WAL2RABBIT_SINK_URL: this.link.urlFor(this.#scene.rabbit.directUrl) },
      others: () => this.#replays.flatMap((one) => (one === replay ? [] : (one.id ?? []))),
    })
    this.#replays.push(replay)
    return replay
  }

  /** The stored LSN of the live stream: a place to replay from later on. */
  async stored(): Promise<Lsn> {
    const [row] = await this.#scene.query('SELECT lsn::text FROM wal2rabbit.checkpoint WHERE slot = $1', [
      this.#scene.slot,
    ])
    return parseLsn(String(row?.lsn))
  }

  /**
   * What they gave is what the live stream gave. All of them must be done, and what is live below their ends must have
   * arrived. Gives a line for the table.
   */
  async check(): Promise<string> {
    const { notes, parts, slot } = this.#scene
    await parts.witness?.read()
    await this.#replays.at(-1)?.drained()
    const live = firstDeliveries(this.#scene.consumer.deliveries).toSorted(comparePlaces)
    let events = 0
    let repeated = 0
    for (const [n, replay] of this.#replays.entries()) {
      const record = await replay.record()
      if (record === undefined) continue
      const { id, from, to, state, published } = record
      const inRange = ({ commitLsn }: { commitLsn: Lsn }) => commitLsn >= from && commitLsn < to
      const committed = live.filter(inRange)
      const ids = new Set(committed.map((event) => event.id))
      const unseen = (parts.witness?.rows ?? []).filter((row) => inRange(row) && !ids.has(row.id))
      const runs = replay.runs(this.#replays[n + 1]?.begins ?? this.#queue.consumer.deliveries.length)
      // One that gave up gave all up to where it stood.
      const given = new Set(runs.flatMap(({ deliveries }) => deliveries.map((delivery) => delivery.id)))
      const expected = replay.gaveUp
        ? committed.slice(0, committed.findLastIndex((event) => given.has(event.id)) + 1)
        : committed
      notes.violations.push(
        ...violationOf(
          'oracle',
          `replay ${id} of ${slot}: committed in its range, and not received live`,
          unseen.map((row) => row.id),
        ),
        ...checkReplayed({ id, expected, runs, window: parts.window, storeInterval: storeInterval() }),
        ...checkSecrets([{ where: `output of replay ${id}`, text: replay.output }], secrets),
      )
      const end = replay.gaveUp ? 'failed' : 'done'
      this.#scene.expect(state === end, 'G9', `replay ${id} is ${state} at the end, expected ${end}`)
      const again = replayedAgain(runs)
      const sound = published >= expected.length && published <= expected.length + again
      this.#scene.expect(
        sound,
        'G9',
        `replay ${id} counts ${published} of ${expected.length} events, ${again} repeated`,
      )
      events += expected.length
      repeated += again
    }
    const count = (number: number) => number.toLocaleString('en-US')
    return `${this.#replays.length} replays of ${count(events)} events, ${count(repeated)} repeated`
  }
}

function exchangeOf({ exchange }: Scene): string {
  return `${exchange}_replay`
}
