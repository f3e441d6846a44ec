import type { BridgeError } from '../base/errors.ts'
import type { WindowRowInput } from '../sink/confirm-window.ts'
import type { Refusal } from '../sink/sink.ts'
import type { WholeDeadLetter } from './dead-letter.ts'
import { type Outcome, type Redeliverer, type Rerouting, windowRowOf } from './publish-again.ts'

export interface SettledLetter {
  readonly letter: WholeDeadLetter
  readonly outcome: Outcome
}

export interface BatchResult {
  readonly settled: readonly SettledLetter[]
  /** Why nothing more can be sent; to be raised once what was settled is durable. */
  readonly trouble: BridgeError | undefined
}

/** Sends these dead letters, by position. One of which no message can be made fails without being sent. */
export async function sendBatch(
  letters: readonly WholeDeadLetter[],
  redeliverer: Redeliverer,
  routing: Rerouting,
): Promise<BatchResult> {
  const outcomes = new Map<string, Outcome>()
  const sending: { readonly letter: WholeDeadLetter; readonly row: WindowRowInput }[] = []
  const closed = new Set<string | null>()
  for (const letter of letters) {
    if (letter.isAggregateParked && closed.has(letter.aggregateKey)) {
      outcomes.set(letter.id, { kind: 'waiting' })
      continue
    }
    const row = windowRowOf(letter, routing)
    if (!isRefusal(row)) sending.push({ letter, row })
    else {
      outcomes.set(letter.id, { kind: 'failed', refusal: row, attempts: 1 })
      closed.add(letter.aggregateKey)
    }
  }
  if (sending.length === 0) return { settled: settledOf(letters, outcomes), trouble: undefined }
  const rows = sending.map(({ row }) => row)
  const held = sending.map(({ letter }) => letter.isAggregateParked)
  const delivery = await redeliverer.send(rows, held)
  for (const [index, { letter }] of sending.entries()) {
    outcomes.set(letter.id, delivery.outcomes[index] ?? { kind: 'unknown' })
  }
  return { settled: settledOf(letters, outcomes), trouble: delivery.trouble }
}

function settledOf(letters: readonly WholeDeadLetter[], outcomes: ReadonlyMap<string, Outcome>): SettledLetter[] {
  return letters.map((letter) => ({ letter, outcome: outcomes.get(letter.id) ?? { kind: 'unknown' } }))
}

function isRefusal(row: WindowRowInput | Refusal): row is Refusal {
  return 'code' in row
}
