/** Why the replay window is not, or will not stay, what was asked for. `kind` tells two apart, `text` is for people. */
export interface Degradation {
  readonly kind: DegradationKind
  readonly text: string
}

export type DegradationKind =
  // The window reaches back less than it could: over once it reaches back far enough again.
  | 'invalidated'
  | 'gone'
  | 'bound'
  // No anchor can be made.
  | 'slot-name'
  | 'slot'
  | 'slot-retains'
  | 'too-fast'
  | 'refused'
  // One cannot be dropped.
  | 'in-use'
  | 'undroppable'
  // Nobody knows.
  | 'unseen'

export function lostByInvalidation(anchor: string, why: string): Degradation {
  return {
    kind: 'invalidated',
    text: `PostgreSQL invalidated anchor ${anchor} (${why}); see max_slot_wal_keep_size and idle_replication_slot_timeout`,
  }
}

export function lostToSomebody(anchors: readonly string[]): Degradation {
  return { kind: 'gone', text: `somebody else dropped ${anchors.join(', ')}` }
}

export function lostToBound(anchor: string, limit: bigint): Degradation {
  const text = `anchor ${anchor} was dropped before it retained ${limit} bytes of WAL, twice replay.window.bytes, with no younger one that covers the window`
  return { kind: 'bound', text }
}

export function nameTooLong(slot: string): Degradation {
  return {
    kind: 'slot-name',
    text: `the name of slot ${slot} is too long: expected 41 characters at most, for its anchors`,
  }
}

export function slotCannotBeCopied(slot: string, why: string): Degradation {
  return { kind: 'slot', text: `slot ${slot} ${why}, so no anchor can be made of it` }
}

export function slotRetains(slot: string, held: bigint, limit: bigint): Degradation {
  const text = `slot ${slot} itself holds ${held} bytes of WAL (an outage of the broker, or a long transaction), too near to ${limit}, twice replay.window.bytes, for an anchor that is a copy of it`
  return { kind: 'slot-retains', text }
}

export function walTooFast(soon: bigint, bytes: bigint): Degradation {
  return {
    kind: 'too-fast',
    text: `${soon} bytes of WAL are written within two looks at the anchors, too much for replay.window.bytes of ${bytes}`,
  }
}

export function creationRefused(name: string, why: string): Degradation {
  return { kind: 'refused', text: `anchor ${name} cannot be made: ${why}` }
}

export function inUse(anchor: string): Degradation {
  return { kind: 'in-use', text: `anchor ${anchor} is due to be dropped, and somebody uses it` }
}

export function anchorsUnseen(slot: string, why: string): Degradation {
  return { kind: 'unseen', text: `the anchors of slot ${slot} cannot be looked at: ${why}` }
}

export function undroppable(anchor: string, why: string): Degradation {
  return { kind: 'undroppable', text: `anchor ${anchor} cannot be dropped: ${why}` }
}
