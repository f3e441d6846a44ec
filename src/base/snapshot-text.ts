/**
 * A `pg_snapshot` as text that PostgreSQL takes back. The snapshot that comes with a new slot may have an xmin above its
 * xmax (`1701:1700:`), which `pg_current_snapshot()` prints and its own input refuses: where xmin is looked at first, all
 * below it are seen, so its xmax is no lower. Source: XidInMVCCSnapshot() of snapmgr.c, parse_snapshot() of xid8funcs.c.
 */
export function readableSnapshot(text: string): string {
  const [xmin = '', xmax = ''] = text.split(':')
  return BigInt(xmin) > BigInt(xmax) ? `${xmin}:${xmin}:` : text
}
