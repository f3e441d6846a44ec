/** One line on standard error: test and bench output on standard output stays clean. */
export function say(line: string): void {
  process.stderr.write(`wal2rabbit services: ${line}\n`)
}

/** An error's own words, for a line that says why something was not chosen. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
