import type { PostgresOptions, RabbitOptions } from '../../support/services.ts'
import type { Kind } from '../workload/kinds.ts'

/** What a row may ask of its scene; everything but the seed has a default. */
export interface SceneOptions {
  readonly seed: number
  /** How many bridges on the one slot; 1. */
  readonly bridges?: number
  /** One quorum queue for everything when absent. */
  readonly queues?: readonly QueueOptions[]
  /** Environment of the bridges beside the rig's own; it wins. */
  readonly env?: Readonly<Record<string, string>>
  /** Each bridge gets proxies of its own (`bridge.links`), so that one of them can be cut off. */
  readonly ownLinks?: boolean
  /** Called with the environment of the bridges before `init` is run: the database is empty then. */
  readonly beforeInit?: (env: Record<string, string>) => Promise<void>
  /** Messages of the confirm window; 300. */
  readonly window?: number
  /** checkpoint.interval in milliseconds; 100. */
  readonly storeInterval?: number
  /** What I3 asks for; `aggregate` also sets delivery.order. Default commit. */
  readonly order?: 'commit' | 'aggregate'
  readonly load?: SceneLoad
  /** An independent slot as oracle; true. Without it I3 looks at aggregates only, and I5 asks nothing. */
  readonly witness?: boolean
  /** Notes every change of the checkpoint row by a trigger, and looks at positions often; true. Both make some WAL. */
  readonly trace?: boolean
  /** Most resident memory of a bridge, bytes; 256 MiB. I8. */
  readonly memoryLimit?: number
  /** A server of this scene alone, started with these options. */
  readonly postgres?: PostgresOptions
  readonly rabbit?: RabbitOptions
}

export interface QueueOptions {
  /** quorum */
  readonly type?: 'quorum' | 'classic'
  /** Such as `x-max-length`. */
  readonly arguments?: Readonly<Record<string, unknown>>
  /** Only the events of these writers (0, 1, …); all events when absent. Two queues for all are a fan-out. */
  readonly writers?: readonly number[]
}

export interface SceneLoad {
  /** Events a second over all writers; 400. */
  readonly rate?: number
  /** 4 */
  readonly writers?: number
  /** Weights of kinds of transactions beside the usual ones, see workload/kinds.ts; 0 leaves one out. */
  readonly kinds?: Partial<Record<Kind, number>>
  /** public.outbox */
  readonly table?: string
}
