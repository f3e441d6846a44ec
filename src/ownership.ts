import { type BridgeError, toBridgeError } from './base/errors.ts'
import type { Checkpoint } from './checkpoint/checkpoint.ts'
import type { PublishLease } from './sink/publish-lease.ts'

export interface OwnershipOptions {
  readonly lease: PublishLease
  readonly checkpoint: Checkpoint
  /** Publishing is allowed again after it was not. */
  readonly onGranted: () => void
  readonly onLost: (error: BridgeError) => void
}

/**
 * Keeps the publish lease of one session alive for as long as the checkpoint is ours. Each store proves it; when none was
 * due for a while, it is asked. Times are milliseconds of performance.now().
 */
export class Ownership {
  readonly #options: OwnershipOptions
  #leaseTime = 0
  #sureAt = Number.NEGATIVE_INFINITY
  #asking = false
  #over = false

  constructor(options: OwnershipOptions) {
    this.#options = options
  }

  /** The claim that was asked for at `at` stands. `leaseTime` in milliseconds. */
  begin(leaseTime: number, at: number): void {
    this.#leaseTime = leaseTime
    this.prove(at)
  }

  /** Nobody else owned the checkpoint when it was asked at `at`. */
  prove(at: number): void {
    const { lease, onGranted } = this.#options
    if (this.#over) return
    this.#sureAt = Math.max(this.#sureAt, at)
    const held = lease.holds(performance.now())
    lease.grant(this.#sureAt + this.#leaseTime)
    if (!held) onGranted()
  }

  /** To be called often: asks when it is time. */
  tick(now: number): void {
    const { checkpoint, lease, onLost } = this.#options
    if (this.#asking || (now - this.#sureAt < this.#leaseTime / 4 && lease.holds(now))) return
    this.#asking = true
    checkpoint
      .confirmOwner()
      .then(
        () => this.prove(now),
        (error) => onLost(toBridgeError(error)),
      )
      .finally(() => {
        this.#asking = false
      })
  }

  /** What is in flight may still be answered; nothing more is sent before the next session knows that it may. */
  end(): void {
    this.#over = true
    this.#options.lease.revoke()
  }
}
