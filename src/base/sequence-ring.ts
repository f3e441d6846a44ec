/**
 * A queue whose items keep the number under which they came: `push` gives the next number, `shift` takes the lowest,
 * `get(number)` finds any between in constant time. Numbers start at `first` and never repeat; a double counts them
 * exactly for longer than any process lives. Grows by doubling.
 */
export class SequenceRing<T> {
  #items: (T | undefined)[]
  #first: number
  #next: number

  constructor(first = 0, capacity = 64) {
    const size = 2 ** Math.ceil(Math.log2(Math.max(capacity, 2)))
    this.#items = new Array<T | undefined>(size).fill(undefined)
    this.#first = first
    this.#next = first
  }

  /** Number of the oldest item; equals `next` when empty. */
  get first(): number {
    return this.#first
  }

  /** Number that the next pushed item gets. */
  get next(): number {
    return this.#next
  }

  get length(): number {
    return this.#next - this.#first
  }

  push(item: T): number {
    if (this.length === this.#items.length) this.#grow()
    this.#items[this.#next % this.#items.length] = item
    return this.#next++
  }

  get(number: number): T | undefined {
    if (number < this.#first || number >= this.#next) return undefined
    return this.#items[number % this.#items.length]
  }

  /** Puts another item under a number that is in the queue. */
  replace(number: number, item: T): void {
    if (number < this.#first || number >= this.#next) throw new RangeError(`no item ${number} in the queue`)
    this.#items[number % this.#items.length] = item
  }

  shift(): T | undefined {
    if (this.#first === this.#next) return undefined
    const slot = this.#first++ % this.#items.length
    const item = this.#items[slot]
    this.#items[slot] = undefined
    return item
  }

  /** Forgets every item; numbering goes on at `next`. */
  clear(): void {
    this.#items.fill(undefined)
    this.#first = this.#next
  }

  #grow(): void {
    const size = this.#items.length * 2
    const items = new Array<T | undefined>(size).fill(undefined)
    for (let n = this.#first; n < this.#next; n++) items[n % size] = this.#items[n % this.#items.length]
    this.#items = items
  }
}
