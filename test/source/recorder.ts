import type { DecodedStream } from '../../src/source/wal-decoder.ts'

export interface Recorded {
  readonly stream: DecodedStream
  readonly calls: unknown[][]
}

/** Takes what a decoder reads and keeps it as plain values; rows as their texts. */
export function recorder(): Recorded {
  const calls: unknown[][] = []
  const stream: DecodedStream = {
    begin: (transaction) => calls.push(['begin', transaction]),
    row: (relation, tuple) =>
      calls.push(['row', relation, relation.columns.map((_, index) => tuple.text(index)), tuple]),
    commit: (commitLsn, endLsn) => calls.push(['commit', commitLsn, endLsn]),
    ignored: () => calls.push(['ignored']),
  }
  return { stream, calls }
}

/** The error that `work` throws; fails when it throws none. */
export function thrownBy(work: () => unknown): unknown {
  try {
    work()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}
