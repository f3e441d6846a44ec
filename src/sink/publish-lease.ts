/** The longest that a lease is given for, milliseconds. */
const leaseTimeMax = 30_000

/** By how much the wall clock may be set forward before the lease is in doubt, milliseconds. */
const wallTolerance = 1000

/**
 * How long a lease may last from the moment at which the owner was last sure. The server gives the slot away when it has
 * heard nothing from us for `walSenderTimeout` (milliseconds, 0: never), and it heard from us within half of that.
 */
export function leaseTimeOf(walSenderTimeout: number): number {
  return walSenderTimeout === 0 ? leaseTimeMax : Math.min(leaseTimeMax, walSenderTimeout * 0.4)
}

/**
 * The right to publish, for a time. A bridge that has lost its slot, or was not running for a while, must not go on
 * with what it still holds: another one may be active. The session grants it as long as it knows that it is the owner.
 * Times are milliseconds of performance.now(), which goes on while the process is stopped; the wall clock tells of a machine that was suspended.
 */
export class PublishLease {
  #until = Number.NEGATIVE_INFINITY
  /** The same by the wall clock: the other does not count the time in which the whole machine was suspended. */
  #wallUntil = Number.NEGATIVE_INFINITY

  grant(until: number, now = performance.now(), wall = Date.now()): void {
    this.#until = Math.max(this.#until, until)
    this.#wallUntil = wall + this.#until - now
  }

  revoke(): void {
    this.#until = Number.NEGATIVE_INFINITY
  }

  holds(now: number, wall = Date.now()): boolean {
    return now < this.#until && wall < this.#wallUntil + wallTolerance
  }
}
