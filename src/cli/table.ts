/** Lays rows out in columns under their names, two blanks apart; null is shown as "-". */
export function formatTable(rows: readonly object[]): string {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))]
  const cells = [names, ...rows.map((row) => names.map((name) => formatCell((row as Record<string, unknown>)[name])))]
  const widths = names.map((_, column) => Math.max(...cells.map((line) => line[column]!.length)))
  return cells
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** Nested facts as lines `positions.stored  16/B374D848`, in their order. */
export function formatFacts(facts: object): string {
  const lines = flatten(facts, '')
  const width = Math.max(0, ...lines.map(([name]) => name.length))
  return lines.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n')
}

function flatten(facts: object, prefix: string): [string, string][] {
  return Object.entries(facts).flatMap(([name, value]): [string, string][] => {
    const path = `${prefix}${name}`
    const isGroup = typeof value === 'object' && value !== null && !(value instanceof Date) && !Array.isArray(value)
    return isGroup ? flatten(value, `${path}.`) : [[path, formatCell(value)]]
  })
}

function formatCell(value: unknown): string {
  if (value === null || value === undefined) return '-'
  if (value instanceof Date) return value.toISOString()
  if (typeof value === 'number' && !Number.isInteger(value)) return value.toFixed(3)
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}
