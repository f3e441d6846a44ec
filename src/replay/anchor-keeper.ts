import { failPoint } from '../base/fail-point.ts'
import type { Logger } from '../base/log.ts'
import { formatLsn, type Lsn } from '../base/lsn.ts'
import type { Anchor } from './anchor.ts'
import { type AnchorPlan, type DropReason, onlyBound, planAnchors, type ReplayWindowLimits } from './plan-anchors.ts'
import { describeWindow, type ReplayWindow, type WindowFacts } from './replay-window.ts'
import { WalPace } from './wal-pace.ts'
import { anchorsUnseen, creationRefused, type Degradation, undroppable } from './window-degradation.ts'

/** The anchors on the server, over one connection that nothing else waits for. Errors are those of the driver. */
export interface AnchorServer {
  look(): Promise<WindowFacts>
  /** Copies the live slot; gives where the copy streams from. */
  create(name: string): Promise<Lsn>
  /** False when it is gone already. */
  drop(name: string): Promise<boolean>
  /** Makes PostgreSQL write a snapshot of running transactions, within moments or not at all. */
  refresh(): Promise<void>
  /** Never rejects. */
  close(): Promise<void>
}

export interface AnchorKeeperOptions {
  readonly slot: string
  readonly window: ReplayWindowLimits
  readonly connect: () => Promise<AnchorServer>
  readonly log: Pick<Logger, 'info' | 'warn'>
  /** Milliseconds until a creation that was refused is tried again. */
  readonly backoff?: number
}

/** What was seen with the last tick, for status and metrics. */
export interface AnchorSight extends ReplayWindow {
  readonly degraded: string | null
}

/** Milliseconds until the next try when the server could not be looked at: a window that nobody watches is not bounded. */
const unseenWait_ms = 1000

/** SQLSTATEs of what another process, or the one before this, may do at the same time: the next tick sees what came of it. */
const alreadyThere = '42710'
const slotInUse = '55006'

/**
 * Looks at the anchors about every second while this process holds the live slot, and does what planAnchors() says; while
 * it has let go of it for a broker that takes nothing, only what keeps the bound.
 * Nothing waits for it and nothing fails for it: what goes wrong degrades the window, and is said once.
 */
export class AnchorKeeper {
  readonly #options: Required<AnchorKeeperOptions>
  #server: AnchorServer | undefined
  #role: 'none' | 'holder' | 'watcher' = 'none'
  #closed = false
  #turn = 0
  #running: Promise<void> | undefined
  #wake: () => void = () => {}
  #sight: AnchorSight | undefined
  #pace = new WalPace()
  #refreshedAt: Lsn | undefined
  #known: readonly string[] | undefined
  #loss: Degradation | undefined
  #refusal: { readonly degradation: Degradation; readonly until: number } | undefined
  #stuck: Degradation | undefined
  #saidKind: string | undefined

  constructor(options: AnchorKeeperOptions) {
    this.#options = { backoff: 30_000, ...options }
  }

  /** Undefined while this process does not hold the slot, or the server cannot be looked at. */
  get sight(): AnchorSight | undefined {
    return this.#sight
  }

  /** The live slot is ours from now on: the first tick begins at once, and nobody waits for it. */
  begin(): void {
    this.#role = 'holder'
    // Another bridge may have had its turn.
    this.#known = undefined
    this.#pace = new WalPace()
    this.#refreshedAt = undefined
    this.#change()
    this.#running ??= this.#run()
  }

  /** It is let go of and will be taken up again: nothing is made any more, but none may retain too much meanwhile. */
  watch(): void {
    if (this.#role === 'holder') this.#role = 'watcher'
    this.#change()
  }

  /** It is no longer ours: no action begins after this. What is under way ends by itself, and does no harm. */
  end(): void {
    this.#role = 'none'
    this.#sight = undefined
    this.#change()
  }

  /** Ends the loop and the connection. Never rejects. */
  async close(): Promise<void> {
    this.#closed = true
    this.end()
    // Before the loop is waited for: a statement that hangs must not hold up the end of the process.
    await this.#disconnect()
    await this.#running
  }

  #change(): void {
    this.#turn++
    this.#wake()
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      const turn = this.#turn
      const wait = this.#role === 'none' ? undefined : await this.#tick()
      // A stand-by costs the server no connection.
      if (this.#role === 'none') await this.#disconnect()
      if (turn === this.#turn) await this.#sleep(wait)
    }
    await this.#disconnect()
  }

  /** Gives the milliseconds until the next. Never rejects. */
  async #tick(): Promise<number> {
    try {
      this.#server ??= await this.#options.connect()
      const server = this.#server
      const facts = await server.look()
      const plan = this.#role === 'watcher' ? onlyBound(this.#plan(facts), facts.live) : this.#plan(facts)
      for (const name of plan.gone) this.#options.log.warn({ anchor: name }, 'anchor slot dropped by somebody else')
      this.#loss = plan.loss
      const anchors = await this.#act(server, facts, plan)
      if (plan.refresh && this.#role === 'holder' && this.#server === server) {
        this.#refreshedAt = facts.walEnd
        await server.refresh()
      }
      // After an operation without an answer nobody knows what is there.
      this.#known = this.#server === server ? anchors.map(({ name }) => name) : undefined
      this.#see({ ...facts, anchors }, plan.degraded ?? this.#refusal?.degradation ?? this.#stuck ?? plan.loss)
      return plan.wait
    } catch (error) {
      this.#known = undefined
      this.#pace = new WalPace()
      this.#sight = undefined
      if (this.#role !== 'none') this.#say(anchorsUnseen(this.#options.slot, said(error)))
      await this.#disconnect()
      return unseenWait_ms
    }
  }

  #plan(facts: WindowFacts): AnchorPlan {
    const { slot, window } = this.#options
    this.#pace.note(performance.now(), facts.walEnd)
    return planAnchors({
      ...facts,
      slot,
      window,
      walRate: this.#pace.rate,
      tickGrowth: this.#pace.growth,
      refreshedAt: this.#refreshedAt,
      known: this.#known,
      loss: this.#loss,
    })
  }

  /**
   * Gives the anchors that there are then. Stops where the slot is no longer ours, or the connection cannot be relied on.
   * Never rejects.
   */
  async #act(server: AnchorServer, { anchors, live, now }: WindowFacts, plan: AnchorPlan): Promise<readonly Anchor[]> {
    const role = this.#role
    const goesOn = () => this.#role === role && role !== 'none' && this.#server === server
    const dropped = new Set<string>()
    this.#stuck = undefined
    for (const { name, because } of plan.drops) {
      if (goesOn() && (await this.#drop(server, name, because))) dropped.add(name)
    }
    const left = anchors.filter(({ name }) => !dropped.has(name))
    if (plan.create === undefined) this.#refusal = undefined
    const mayTry = dropped.size === plan.drops.length && performance.now() >= (this.#refusal?.until ?? 0)
    if (plan.create === undefined || !mayTry || !goesOn()) return left
    const confirmedFlushLsn = await this.#create(server, plan.create)
    if (confirmedFlushLsn === undefined) return left
    const { restartLsn, invalidation } = live!
    return [...left, { name: plan.create, madeAt: now, confirmedFlushLsn, restartLsn, invalidation, active: false }]
  }

  async #drop(server: AnchorServer, anchor: string, because: DropReason): Promise<boolean> {
    const { log } = this.#options
    try {
      if (!(await server.drop(anchor))) return true
    } catch (error) {
      if (sqlStateOf(error) !== slotInUse) this.#stuck = undroppable(anchor, said(error))
      await this.#mistrustAfter(error)
      return false
    }
    failPoint('anchor-dropped')
    log[because === 'invalidated' || because === 'bound' ? 'warn' : 'info']({ anchor, because }, 'anchor slot dropped')
    return true
  }

  /** Gives where the copy streams from; undefined when there is none. */
  async #create(server: AnchorServer, anchor: string): Promise<Lsn | undefined> {
    const { log, backoff } = this.#options
    let lsn: Lsn
    try {
      lsn = await server.create(anchor)
    } catch (error) {
      if (sqlStateOf(error) === alreadyThere) return undefined
      this.#refusal = { degradation: creationRefused(anchor, said(error)), until: performance.now() + backoff }
      await this.#mistrustAfter(error)
      return undefined
    }
    failPoint('anchor-created')
    this.#refusal = undefined
    log.info({ anchor, lsn: formatLsn(lsn) }, 'anchor slot made')
    return lsn
  }

  /** Without an answer of the server the statement may still run there. */
  async #mistrustAfter(error: unknown): Promise<void> {
    if (sqlStateOf(error) === undefined) await this.#disconnect()
  }

  #see(facts: WindowFacts, degradation: Degradation | undefined): void {
    if (this.#role === 'none') return
    this.#sight = { ...describeWindow(facts), degraded: degradation?.text ?? null }
    this.#say(degradation)
  }

  /** One line a change: figures in the text change with every tick. */
  #say(degradation: Degradation | undefined): void {
    if (degradation?.kind === this.#saidKind) return
    this.#saidKind = degradation?.kind
    const { log, slot } = this.#options
    if (degradation === undefined) log.info({ slot }, 'the replay window is in order again')
    else log.warn({ slot, reason: degradation.text }, 'the replay window is degraded')
  }

  async #disconnect(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    await server?.close()
  }

  async #sleep(wait: number | undefined): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    await new Promise<void>((resolve) => {
      this.#wake = resolve
      if (wait !== undefined) timer = setTimeout(resolve, wait)
    })
    clearTimeout(timer)
  }
}

/** Undefined when it was not the server that answered. */
function sqlStateOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | undefined)?.code
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code : undefined
}

function said(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const state = sqlStateOf(error)
  return state === undefined ? error.message : `${error.message} (SQLSTATE ${state})`
}
