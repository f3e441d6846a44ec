/**
 * The `xmin` of a row as a 64-bit transaction id (SQL, bigint), which says in which epoch it was. Of a row that was
 * written more than 2^32 transactions ago it gives a younger one, never an older. It may be the id of a
 * *subtransaction*, which no pg_snapshot lists: younger than the transaction itself, never older.
 * Source: PostgreSQL documentation, "Transaction ID and Snapshot Information Functions", 9.27.
 */
export function fullXminSql(row: string): string {
  // A subselect is computed once for a statement, where a function would be called for each row.
  const next = '(SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint)'
  return `(${next} - ((${next} - ${row}.xmin::text::bigint) & 4294967295))`
}
