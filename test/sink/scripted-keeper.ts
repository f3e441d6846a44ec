import type { BridgeError } from '../../src/base/errors.ts'
import type { Undeliverable, UndeliverableKeeper, Verdict } from '../../src/sink/undeliverable.ts'

/** A place for dead letters that the test looks into and disturbs. */
export class ScriptedKeeper implements UndeliverableKeeper {
  /** What was kept, in order: `0198…-3 EVENT_NACKED`, the event's id and the reason. */
  readonly kept: string[] = []
  /** How many events each call brought, those that failed too. */
  readonly calls: number[] = []
  /** What every call ends with while it is set. */
  failing: Error | BridgeError | undefined
  /** Called for each batch, before anything is kept. */
  before: (items: readonly Undeliverable[]) => Promise<void> | void = () => {}
  verdict: (item: Undeliverable) => Verdict = () => 'kept'
  /** Ids of aggregates whose events wait behind a dead letter. */
  readonly parked = new Set<string>()

  async keep(items: readonly Undeliverable[]): Promise<readonly Verdict[]> {
    this.calls.push(items.length)
    await this.before(items)
    if (this.failing !== undefined) throw this.failing
    const verdicts = items.map((item) => this.verdict(item))
    items.forEach(({ row, refusal }, index) => {
      if (verdicts[index] === 'kept') this.kept.push(`${row.eventId} ${refusal.code}`)
    })
    return verdicts
  }

  isParked(_aggregateType: string | null, aggregateId: string | null): boolean {
    return aggregateId !== null && this.parked.has(aggregateId)
  }
}
