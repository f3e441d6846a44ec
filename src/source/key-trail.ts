const entries_max = 4096

/**
 * Remembers the order keys of some rows on their way, so that a read can go on at one that is settled. Bounded: when
 * nobody asks it keeps every second one, and an older key repeats more rows.
 */
export class KeyTrail {
  #entries: { readonly ordinal: number; readonly key: string }[] = []
  #last: string | undefined

  /** Ordinals ascend. */
  note(ordinal: number, key: string): void {
    if (this.#entries.length >= entries_max) this.#entries = this.#entries.filter((_, index) => index % 2 === 0)
    this.#entries.push({ ordinal, key })
    this.#last = key
  }

  /** The last key noted; undefined before the first. */
  get last(): string | undefined {
    return this.#last
  }

  /** The last key noted below `ordinal`, which never descends from call to call; undefined when there is none. */
  below(ordinal: number): string | undefined {
    const next = this.#entries.findIndex((entry) => entry.ordinal >= ordinal)
    const passed = next === -1 ? this.#entries.length : next
    if (passed > 1) this.#entries.splice(0, passed - 1)
    return passed === 0 ? undefined : this.#entries[0]!.key
  }
}
