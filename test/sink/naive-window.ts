import type { SettledPosition, WindowLimits } from '../../src/sink/confirm-window.ts'

export interface NaiveRow {
  readonly commitLsn: bigint
  readonly ordinal: number
  readonly bytes: number
  /** Null: it waits for no other row. */
  readonly aggregate: string | null
  state: 'unsent' | 'waiting' | 'keeping' | 'in-flight' | 'settled' | 'forgotten'
}

/** What the window is to do, in the plainest way: a list from the start of the stream that is walked every time. */
export class NaiveWindow {
  readonly #limits: WindowLimits
  readonly #byAggregate: boolean
  #base: SettledPosition = { lsn: 0n, partial: null }
  #items: (NaiveRow | bigint)[] = []
  tags: (NaiveRow | 'answered')[] = []

  constructor(limits: WindowLimits, order: 'commit' | 'aggregate' = 'commit') {
    this.#limits = limits
    this.#byAggregate = order === 'aggregate'
  }

  push(item: NaiveRow | bigint): void {
    this.#items.push(item)
  }

  reset(): void {
    this.#base = this.settled
    for (const row of this.rows) row.state = 'forgotten'
    this.#items = []
  }

  get rows(): NaiveRow[] {
    return this.#items.filter((item) => typeof item !== 'bigint')
  }

  /** Publishes without an answer, those of forgotten rows too. */
  get inFlight(): NaiveRow[] {
    return this.tags.filter((row) => row !== 'answered')
  }

  /** Rows from the first unsettled one on. */
  get held(): NaiveRow[] {
    const first = this.rows.findIndex(({ state }) => state !== 'settled')
    return first === -1 ? [] : this.rows.slice(first)
  }

  get settled(): SettledPosition {
    let { lsn, partial } = this.#base
    for (const item of this.#items) {
      if (typeof item === 'bigint') {
        lsn = item
        partial = null
      } else {
        if (item.state !== 'settled') break
        partial = { commitLsn: item.commitLsn, rows: item.ordinal + 1 }
      }
    }
    return { lsn, partial }
  }

  /** Younger rows of the same aggregate. */
  behind(row: NaiveRow): NaiveRow[] {
    if (!this.#byAggregate || row.aggregate === null) return []
    const { rows } = this
    return rows.slice(rows.indexOf(row) + 1).filter(({ aggregate }) => aggregate === row.aggregate)
  }

  next(): NaiveRow | undefined {
    const { rows } = this
    const held = new Set(rows.filter(({ state }) => state !== 'settled').flatMap((row) => this.behind(row)))
    const row = rows.find((one) => one.state === 'unsent' && !held.has(one))
    const flying = this.inFlight
    if (row === undefined || flying.length >= this.#limits.messages) return undefined
    const bytes = flying.reduce((sum, one) => sum + one.bytes, row.bytes)
    return flying.length === 0 || bytes <= this.#limits.bytes ? row : undefined
  }

  channelLost(): void {
    for (const row of this.inFlight) if (row.state === 'in-flight') row.state = 'unsent'
    this.tags = []
  }

  /** The rows that an answer speaks of, oldest first; undefined when the tag is none that is outstanding. */
  answered(tag: number, multiple: boolean): NaiveRow[] | undefined {
    const outstanding = (t: number) => this.tags[t - 1] !== undefined && this.tags[t - 1] !== 'answered'
    const known = multiple
      ? tag <= this.tags.length && this.tags.some((_, i) => i < tag && outstanding(i + 1))
      : outstanding(tag)
    if (!known) return undefined
    const rows: NaiveRow[] = []
    for (let t = multiple ? 1 : tag; t <= tag; t++) {
      const row = this.tags[t - 1]!
      if (row !== 'answered' && row.state !== 'forgotten') rows.push(row)
      this.tags[t - 1] = 'answered'
    }
    return rows
  }
}
