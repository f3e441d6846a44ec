import type { WindowRow } from './confirm-window.ts'

/** Rows of one aggregate that are not settled, oldest first from `from` on. */
interface Lane {
  rows: WindowRow[]
  from: number
}

/** For each aggregate the order of its unsettled rows: only the first of them may be on its way. */
export class AggregateLanes {
  readonly #lanes = new Map<string, Lane>()

  /** Appends the row. False: an older row of its aggregate comes first. A row that names no aggregate waits for none. */
  enter(row: WindowRow): boolean {
    const key = laneKey(row)
    if (key === undefined) return true
    const lane = this.#lanes.get(key)
    if (lane === undefined) this.#lanes.set(key, { rows: [row], from: 0 })
    else lane.rows.push(row)
    return lane === undefined
  }

  /**
   * `row` is settled. When it was the first of its aggregate, takes it out, with settled ones right behind it (dead letters
   * may be kept out of turn), and returns the one that is first now.
   */
  leave(row: WindowRow): WindowRow | undefined {
    const key = laneKey(row)
    const lane = key === undefined ? undefined : this.#lanes.get(key)
    if (key === undefined || lane === undefined || lane.rows[lane.from] !== row) return undefined
    do lane.from++
    while (lane.rows[lane.from]?.state === 'settled')
    if (lane.from === lane.rows.length) {
      this.#lanes.delete(key)
      return undefined
    }
    // What is behind `from` is garbage: taken out now and then, not for each row.
    if (lane.from > 32 && lane.from * 2 > lane.rows.length) {
      lane.rows = lane.rows.slice(lane.from)
      lane.from = 0
    }
    return lane.rows[lane.from]
  }

  isFirst(row: WindowRow): boolean {
    const lane = this.#laneOf(row)
    return lane === undefined || lane.rows[lane.from] === row
  }

  /** All rows behind this one, which must be the first of its aggregate. */
  rowsBehind(row: WindowRow): WindowRow[] {
    const lane = this.#laneOf(row)
    return lane === undefined ? [] : lane.rows.slice(lane.from + 1)
  }

  clear(): void {
    this.#lanes.clear()
  }

  #laneOf(row: WindowRow): Lane | undefined {
    const key = laneKey(row)
    return key === undefined ? undefined : this.#lanes.get(key)
  }
}

function laneKey({ aggregateType, aggregateId }: WindowRow): string | undefined {
  // NUL cannot occur in a PostgreSQL text.
  return aggregateType === null || aggregateId === null ? undefined : `${aggregateType}\0${aggregateId}`
}
