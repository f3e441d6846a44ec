import { BridgeError } from '../base/errors.ts'
import { formatLsn } from '../base/lsn.ts'
import type { WindowRow } from './confirm-window.ts'
import type { Refusal, SinkState } from './sink.ts'

export interface StandingFacts {
  readonly connected: boolean
  /** Why there is no connection, if that is known. */
  readonly trouble: BridgeError | undefined
  /** The reason given with connection.blocked; undefined while the broker takes messages. */
  readonly alarm: string | undefined
  /** Why dead letters cannot be stored. */
  readonly unkept: BridgeError | undefined
  readonly blocking: WindowRow | undefined
}

export interface Standing {
  readonly state: SinkState
  readonly reason: BridgeError | undefined
}

/** How a running sink stands; what is nearer to the broker counts first. */
export function standingOf(facts: StandingFacts): Standing {
  const { connected, trouble, alarm, unkept, blocking } = facts
  if (!connected) return { state: isFailing(trouble) ? 'failing' : 'connecting', reason: trouble }
  if (alarm !== undefined) return { state: 'blocked', reason: new BridgeError('SINK_BLOCKED', blockedText(alarm)) }
  if (unkept !== undefined) return { state: isFailing(unkept) ? 'stuck' : 'blocked', reason: unkept }
  if (blocking !== undefined) {
    const text = 'no queue is bound for it (unroutable: block)'
    return { state: 'blocked', reason: undeliverable(blocking, { code: 'EVENT_UNROUTABLE', text }) }
  }
  return { state: 'open', reason: undefined }
}

/** Whether somebody has to act, so that trying again is slow. */
export function isFailing(trouble: BridgeError | undefined): boolean {
  return trouble !== undefined && trouble.action !== 'retry'
}

export function undeliverable(row: WindowRow, refusal: Refusal): BridgeError {
  return new BridgeError(refusal.code, `${describeRow(row)} cannot be delivered: ${refusal.text}`)
}

/** `event 0198… (16/B374D848#3, to exchange "outbox" with routing key "order.paid")`. */
export function describeRow(row: WindowRow): string {
  const target =
    row.message === undefined
      ? ''
      : `, to exchange "${row.message.exchange}" with routing key "${row.message.routingKey}"`
  return `event ${row.eventId ?? 'without id'} (${formatLsn(row.commitLsn)}#${row.ordinal}${target})`
}

function blockedText(alarm: string): string {
  return alarm === '' ? 'the broker takes no messages' : `the broker takes no messages: ${alarm}`
}
