/** Rows of one batch, about: a block is never split. */
export const batch_rows_max = 1000
const chunk_blocks = { first: 256, min: 16, max: 16_384 }
/** A look should take between these, milliseconds. */
const look_ms = { low: 5, high: 50 }

/** Old rows in one block of the heap. */
export interface BlockCount {
  readonly block: number
  readonly rows: number
}

/** Blocks `from` up to and without `to`. */
export interface Batch {
  readonly from: number
  readonly to: number
  readonly rows: number
}

/** Cuts blocks, in ascending order, into runs of at most `batch_rows_max` rows, or of one block where that holds more. */
export function cutBatches(blocks: readonly BlockCount[]): Batch[] {
  const batches: Batch[] = []
  for (const { block, rows } of blocks) {
    const last = batches.at(-1)
    if (last !== undefined && last.rows + rows <= batch_rows_max) {
      batches[batches.length - 1] = { from: last.from, to: block + 1, rows: last.rows + rows }
    } else batches.push({ from: block, to: block + 1, rows })
  }
  return batches
}

export const firstChunk = chunk_blocks.first

/** How many blocks to look at next, after a look at `blocks` of them that took `elapsed` milliseconds. */
export function nextChunk(blocks: number, elapsed: number): number {
  if (elapsed < look_ms.low) return Math.min(chunk_blocks.max, blocks * 2)
  if (elapsed > look_ms.high) return Math.max(chunk_blocks.min, Math.floor(blocks / 2))
  return blocks
}

/** Reading takes a third of the time at most, deleting a fifth. Milliseconds. */
export function pauseAfterLook(elapsed: number): number {
  return Math.ceil(elapsed * 2)
}

export function pauseAfterDelete(elapsed: number): number {
  return Math.ceil(elapsed * 4)
}

const second = 1000
const interval = { min: 10 * second, max: 3600 * second, waiting: 60 * second }

/**
 * Milliseconds until the next pass: a pass reads the whole table, so it comes a few times in `age`, and rarely in relation
 * to how long the last one took. What only waits for the stored LSN is looked at again sooner.
 */
export function pauseAfterPass(age: number, took: number, waiting: boolean): number {
  const usual = Math.min(interval.max, Math.max(interval.min, age / 24))
  return Math.max(waiting ? Math.min(usual, interval.waiting) : usual, took * 4)
}
