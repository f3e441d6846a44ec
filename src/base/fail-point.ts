/** Moments at which a crash is of interest. */
export type FailPointName =
  | 'subscribing'
  | 'begin'
  | 'row'
  | 'published'
  | 'answered-out-of-order'
  | 'settled'
  | 'stored'
  | 'acknowledged'
  | 'dead-letter'
  | 'dead-letter-kept'
  | 'rewind-intended'
  | 'rewind-staged'
  | 'rewind-moved'
  | 'rewind-dropped'
  | 'rewind-replaced'
  | 'rewind-unstaged'
  | 'rewind-done'
  | 'anchor-created'
  | 'anchor-dropped'
  | 'replay-started'
  | 'replay-row'
  | 'replay-stored'
  | 'backfill-snapshot'
  | 'backfill-published'
  | 'backfill-slot'

/** Set by tests that load this module before the program; nothing in the program sets it. */
export const failPoints: { hit: ((name: FailPointName) => void) | undefined } = { hit: undefined }

/** Does nothing, unless a test made this a moment to die at. */
export function failPoint(name: FailPointName): void {
  failPoints.hit?.(name)
}
