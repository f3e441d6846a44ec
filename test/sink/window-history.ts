import { inspect, isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { ConfirmWindow, type WindowLimits, type WindowOptions, type WindowRow } from '../../src/sink/confirm-window.ts'
import { type NaiveRow, NaiveWindow } from './naive-window.ts'
import { windowRow } from './window-rows.ts'

const kind = <K extends string>(name: K) => fc.constant(name)
const few = fc.nat(7)

/** What may happen to a window. Numbers that choose a row are taken modulo the rows that there are. */
export const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: kind('row'),
      size: fc.nat(900),
      aggregate: fc.constantFrom('a', 'a', 'b', 'c', null),
      /** Rows left out before it, where that is allowed. */
      gap: fc.nat(2),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: kind('commit'), gap: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ kind: kind('next transaction') }) },
  { weight: 1, arbitrary: fc.record({ kind: kind('idle'), ahead: fc.integer({ min: -9, max: 9 }) }) },
  { weight: 4, arbitrary: fc.record({ kind: kind('send'), count: fc.integer({ min: 1, max: 8 }) }) },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: kind('answer'),
      verdict: fc.constantFrom('ack', 'ack', 'retry', 'put off'),
      multiple: fc.boolean(),
      /** From the last tag given back; below 0 one that was never given. */
      back: fc.integer({ min: -2, max: 12 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: kind('wake'), which: few }) },
  { weight: 2, arbitrary: fc.record({ kind: kind('keep'), followers: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ kind: kind('kept'), which: few, released: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: kind('lost') }) },
  { weight: 1, arbitrary: fc.record({ kind: kind('reset') }) },
)

export const limits = fc.record({
  messages: fc.integer({ min: 1, max: 12 }),
  bytes: fc.integer({ min: 600, max: 9000 }),
})

type Step = typeof step extends fc.Arbitrary<infer S> ? S : never

/** A window and the naive one beside it, which are to agree after each step. */
export class WindowHistory {
  readonly window: ConfirmWindow
  readonly model: NaiveWindow
  readonly #sparse: boolean
  readonly #twins = new Map<WindowRow, NaiveRow>()
  readonly #settledOnce = new Set<WindowRow>()
  #end = 0n
  #open: { lsn: bigint; rows: number } | undefined

  constructor(bounds: WindowLimits, options: Required<WindowOptions>) {
    this.window = new ConfirmWindow(bounds, options)
    this.model = new NaiveWindow(bounds, options.order)
    this.#sparse = options.positions === 'sparse'
  }

  do(one: Step): void {
    const before = this.model.settled
    if (one.kind === 'row') this.#row(one.size, one.aggregate, one.gap)
    else if (one.kind === 'commit') this.#commit(BigInt(one.gap))
    else if (one.kind === 'next transaction') this.#nextTransaction()
    else if (one.kind === 'idle') this.#idle(one.ahead)
    else if (one.kind === 'send') for (let i = 0; i < one.count && this.#send(); i++);
    else if (one.kind === 'answer') this.#answer(this.model.tags.length - one.back, one.multiple, one.verdict)
    else if (one.kind === 'wake') this.#wake(one.which)
    else if (one.kind === 'keep') this.#keep(one.followers)
    else if (one.kind === 'kept') this.#kept(one.which, one.released)
    else if (one.kind === 'lost') this.#lost()
    else this.#reset()
    this.#compare(before.lsn)
  }

  /** Everything is confirmed or kept from here on: all must settle. */
  finish(): void {
    this.#lost()
    for (let round = 0; !this.window.isEmpty; round++) {
      if (round > 1000) throw new Error('what is left never settles')
      while (this.#wake(0)) this.#compare(0n)
      while (this.#kept(0, false)) this.#compare(0n)
      while (this.#send()) this.#compare(0n)
      this.#answer(this.model.tags.length, true, 'ack')
      this.#compare(0n)
    }
    agree('what is left', this.model.held, [])
  }

  #row(size: number, aggregate: string | null, gap: number): void {
    this.#open ??= { lsn: this.#end + 1n, rows: 0 }
    const open = this.#open
    if (this.#sparse) open.rows += gap
    const { lsn: commitLsn, rows: ordinal } = open
    open.rows++
    const row: NaiveRow = { commitLsn, ordinal, bytes: 512 + size, aggregate, state: 'unsent' }
    this.model.push(row)
    const names = { aggregateType: 'order', aggregateId: aggregate }
    this.window.pushRow(windowRow({ commitLsn, ordinal, body: 'x'.repeat(size), ...names }))
    this.#twins.set(this.#find(row), row)
  }

  #commit(gap: bigint): void {
    const lsn = this.#open?.lsn ?? this.#end + gap
    this.#end = lsn + 8n
    this.#open = undefined
    this.model.push(this.#end)
    this.window.pushCommit(lsn, this.#end)
  }

  /** Where rows may be left out, the end of a transaction may be as well. */
  #nextTransaction(): void {
    if (!this.#sparse || this.#open === undefined) return
    this.#end = this.#open.lsn + 8n
    this.#open = { lsn: this.#end + 1n, rows: 0 }
    this.#row(10, 'a', 1)
  }

  #idle(ahead: number): void {
    this.window.pushIdle(this.#end + BigInt(ahead))
    if (this.#open !== undefined || ahead <= 0) return
    this.#end += BigInt(ahead)
    this.model.push(this.#end)
  }

  #send(): boolean {
    const row = this.window.nextUnsent()
    if ((row && this.#twin(row)) !== this.model.next()) agree('the next row', row && this.#twin(row), this.model.next())
    if (row === undefined) return false
    const twin = this.#twin(row)
    twin.state = 'in-flight'
    this.model.tags.push(twin)
    agree('the tag', this.window.sent(row, 0), this.model.tags.length)
    return true
  }

  #answer(tag: number, multiple: boolean, verdict: 'ack' | 'retry' | 'put off'): void {
    // Tag 0 with multiple means all, which is a matter of another test.
    if (tag <= 0 && multiple) return
    const expected = tag > 0 ? this.model.answered(tag, multiple) : undefined
    const seen: NaiveRow[] = []
    const known = this.window.answer(tag, multiple, (row) => {
      seen.push(this.#twin(row))
      if (verdict === 'ack') {
        agree('settled before', this.#settledOnce.has(row), false)
        this.#settledOnce.add(row)
        this.window.settle(row)
        return
      }
      this.window.fail(row)
      if (verdict === 'put off') this.window.putOff(row)
    })
    agree('the tag is outstanding', known, expected !== undefined)
    agree('rows answered', seen, expected ?? [])
    const state = verdict === 'ack' ? 'settled' : verdict === 'retry' ? 'unsent' : 'waiting'
    for (const row of expected ?? []) row.state = state
  }

  #wake(which: number): boolean {
    const row = this.#choose('waiting', which)
    if (row === undefined) return false
    row.state = 'unsent'
    this.window.wake(this.#find(row))
    return true
  }

  #keep(followers: boolean): void {
    const row = this.window.nextUnsent()
    if (row === undefined) return
    const twin = this.#twin(row)
    const behind = followers ? this.model.behind(twin).filter(({ state }) => state === 'unsent') : []
    const kept = this.window.keep(row, followers).map((one) => this.#twin(one))
    agree('rows kept', kept, [twin, ...behind])
    for (const one of kept) one.state = 'keeping'
  }

  #kept(which: number, released: boolean): boolean {
    const row = this.#choose('keeping', which)
    if (row === undefined) return false
    row.state = released ? 'unsent' : 'settled'
    const own = this.#find(row)
    if (released) this.window.unkeep(own)
    else this.window.settle(own)
    return true
  }

  #lost(): void {
    this.window.channelLost()
    this.model.channelLost()
  }

  #reset(): void {
    this.window.reset(this.window.settled)
    this.model.reset()
    const { lsn, partial } = this.model.settled
    this.#end = lsn
    this.#open = partial === null ? undefined : { lsn: partial.commitLsn, rows: partial.rows }
  }

  #compare(settledBefore: bigint): void {
    const { window, model } = this
    agree('settled', window.settled, model.settled)
    agree('settled goes back', window.settled.lsn < settledBefore, false)
    agree('in flight', window.inFlight, model.inFlight.length)
    agree('messages', window.messages, model.held.length)
    agree(
      'bytes',
      window.bytes,
      model.held.reduce((sum, row) => sum + row.bytes, 0),
    )
  }

  #choose(state: NaiveRow['state'], which: number): NaiveRow | undefined {
    const rows = this.model.rows.filter((row) => row.state === state)
    return rows[which % Math.max(1, rows.length)]
  }

  #find({ commitLsn, ordinal }: NaiveRow): WindowRow {
    const row = this.window.find(commitLsn, ordinal)
    if (row === undefined) throw new Error(`the window does not find ${commitLsn}#${ordinal}`)
    return row
  }

  #twin(row: WindowRow): NaiveRow {
    const twin = this.#twins.get(row)
    if (twin === undefined) throw new Error(`nobody pushed ${row.commitLsn}#${row.ordinal}`)
    return twin
  }
}

/** As an assertion of vitest, which would take most of the time here. */
export function agree(what: string, actual: unknown, expected: unknown): void {
  if (!isDeepStrictEqual(actual, expected))
    throw new Error(`${what}: ${inspect(actual)}, expected ${inspect(expected)}`)
}
