/** The longest that a lease is given for, milliseconds. */
const leaseTimeMax = 30_000

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
 * Times are milliseconds of performance.now(), which goes on while the process is stopped.
 */
export class PublishLease {
  #until = Number.NEGATIVE_INFINITY

  grant(until: number): void {
    this.#until = Math.max(this.#until, until)
  }

  revoke(): void {
    this.#until = Number.NEGATIVE_INFINITY
  }

  holds(now: number): boolean {
    return now < this.#until
  }
}
