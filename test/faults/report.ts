import type { RowResult } from './run-row.ts'

/** Where the results of a run come from. */
export interface RunFacts {
  /** `npm run faults -- --seed 7` */
  readonly command: string
  readonly seed: number
  /** `2026-11-22` */
  readonly date: string
  /** `PostgreSQL 15.14, RabbitMQ 3.10.8, Node 20.19.5` */
  readonly versions: string
}

const columns = [
  'fault',
  'what is broken',
  'expect',
  'runs',
  'events',
  'lost',
  'out of order',
  'repeated',
  'time to recover',
  'result',
  'measured',
  'seed',
]

/** The cells of one row, in the order of the columns. */
export function cellsOf({ row, figures, failures, seed }: RowResult): string[] {
  const number = (value: number | undefined) => (value === undefined ? '' : value.toLocaleString('en-US'))
  return [
    row.id,
    row.title,
    row.expect,
    number(figures?.runs),
    number(figures?.events),
    number(figures?.lost),
    number(figures?.outOfOrder),
    number(figures?.repeated),
    figures?.recovery_ms == null ? '' : `${(figures.recovery_ms / 1000).toFixed(1)} s`,
    failures.length === 0 ? 'passed' : 'FAILED',
    figures?.note ?? '',
    String(seed),
  ].map(escaped)
}

function escaped(cell: string): string {
  return cell.replaceAll('|', '\\|')
}

export function tableOf(rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  const alignment = columns.map((_, n) => (n >= 3 && n <= 8 ? '---:' : '---'))
  return [line(columns), `|${alignment.join('|')}|`, ...rows.map(line)].join('\n')
}

/**
 * The page with the new results in it. Rows that were not run keep their last result; `order` is that of the matrix, by
 * id and title, and what is no longer in it is dropped.
 */
export function mergePage(
  previous: string,
  results: readonly RowResult[],
  order: readonly { readonly id: string; readonly title: string }[],
  facts: RunFacts,
): string {
  const known = new Map<string, string[]>()
  for (const cells of [...cellsIn(previous), ...results.map(cellsOf)]) known.set(`${cells[0]} ${cells[1]}`, cells)
  const rows = order.flatMap(({ id, title }) => {
    const cells = known.get(`${id} ${escaped(title)}`)
    return cells === undefined ? [] : [cells]
  })
  return `# Fault matrix

What is broken on purpose, and what came of it. R: recovers by itself. H: halts, fail-closed. D: degraded but alive. Real
PostgreSQL, real RabbitMQ, private processes, under load; what is checked is in [test/faults](../test/faults/README.md).
Lost and out of order must be 0. Repeated events are those that a crash had published and not yet stored.

Made by \`npm run faults\`; one row again: \`npm run faults -- --row F50 --seed N\`.
Last run: \`${facts.command}\`, seed ${facts.seed}, ${facts.date}, ${facts.versions}.

${tableOf(rows)}
`
}

/** The cells of each row of the table in a page. */
function cellsIn(page: string): string[][] {
  return page
    .split('\n')
    .filter((line) => /^\| F\d/.test(line))
    .map((line) => line.slice(2, -2).split(/ \| /))
}
