import type { LedgerView, WrittenRow } from '../checkers/history.ts'

/** How the end of a transaction can be found out when the connection broke during COMMIT. */
export interface Doubt {
  /** pg_current_xact_id() as text; undefined when the answer that names it was lost too. */
  readonly xid: string | undefined
  readonly rows: ReadonlyMap<string, WrittenRow>
}

/** What the writers know of their rows. Each row is in one place: open, committed, aborted, or in doubt. */
export class Ledger implements LedgerView {
  readonly committed = new Map<string, WrittenRow>()
  readonly aborted = new Set<string>()
  readonly unknown = new Map<string, WrittenRow>()
  readonly doubts = new Set<Doubt>()
  #onCommitted: (rows: ReadonlyMap<string, WrittenRow>) => void = () => {}

  /** Called with the rows of each transaction once its writer knows that it committed. */
  onCommitted(listener: (rows: ReadonlyMap<string, WrittenRow>) => void): void {
    this.#onCommitted = listener
  }

  /** A row that committed or is in doubt. */
  find(id: string): WrittenRow | undefined {
    return this.committed.get(id) ?? this.unknown.get(id)
  }

  commit(rows: ReadonlyMap<string, WrittenRow>): void {
    for (const [id, row] of rows) this.committed.set(id, row)
    this.#onCommitted(rows)
  }

  abort(ids: Iterable<string>): void {
    for (const id of ids) this.aborted.add(id)
  }

  doubt(doubt: Doubt): void {
    this.doubts.add(doubt)
    for (const [id, row] of doubt.rows) this.unknown.set(id, row)
  }

  resolve(doubt: Doubt, outcome: 'committed' | 'aborted'): void {
    this.doubts.delete(doubt)
    for (const id of doubt.rows.keys()) this.unknown.delete(id)
    if (outcome === 'committed') this.commit(doubt.rows)
    else this.abort(doubt.rows.keys())
  }
}
