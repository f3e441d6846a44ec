import type { SourceTuple } from './source.ts'

/** A row of pgoutput: one owned buffer and, for each column, where its text starts and ends in there (-1, -1: NULL). */
export class BufferTuple implements SourceTuple {
  private readonly data: Buffer
  private readonly bounds: readonly number[]

  constructor(data: Buffer, bounds: readonly number[]) {
    this.data = data
    this.bounds = bounds
  }

  text(index: number): string | null {
    const start = this.bounds[index * 2]!
    return start >= 0 ? this.data.toString('utf8', start, this.bounds[index * 2 + 1]!) : null
  }

  bytes(index: number): Buffer | null {
    const start = this.bounds[index * 2]!
    return start >= 0 ? this.data.subarray(start, this.bounds[index * 2 + 1]!) : null
  }

  get size(): number {
    return this.data.length
  }

  byteLength(index: number): number {
    return this.bounds[index * 2 + 1]! - this.bounds[index * 2]!
  }
}

/** A row of wal2json: each column's text form, decoded from JSON already. */
export class TextTuple implements SourceTuple {
  private readonly values: ReadonlyArray<string | null>

  constructor(values: ReadonlyArray<string | null>) {
    this.values = values
  }

  text(index: number): string | null {
    return this.values[index] ?? null
  }

  bytes(index: number): Buffer | null {
    const value = this.text(index)
    return value === null ? null : Buffer.from(value, 'utf8')
  }

  get size(): number {
    return this.values.reduce((sum, value) => sum + (value?.length ?? 0), 0)
  }

  byteLength(index: number): number {
    const value = this.text(index)
    return value === null ? 0 : Buffer.byteLength(value, 'utf8')
  }
}
