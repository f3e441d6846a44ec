import type { ConfirmWindow } from '../../src/sink/confirm-window.ts'
import type { WalDecoder } from '../../src/source/wal-decoder.ts'
import type { SeededRandom } from '../support/seeded-random.ts'
import { type CaseLog, mustHold } from './fuzz-target.ts'
import { noise, pick } from './mutation.ts'
import { emptyWindow, type Said, StreamSession } from './session-model.ts'

export interface Transaction {
  readonly commitLsn: bigint
  readonly endLsn: bigint
  readonly messages: readonly Buffer[]
  readonly eventIds: readonly string[]
}

/** How an output plugin writes a transaction, and a second, plainer reader of it. */
export interface StreamLanguage {
  decoder(): WalDecoder
  transaction(commitLsn: bigint, eventIds: readonly string[]): Transaction
  said(payload: Buffer): Said
  /** Whether it publishes nothing, moves nothing and describes nothing, if it is accepted. */
  isHarmless(payload: Buffer): boolean
  mutate(random: SeededRandom, message: Buffer, others: readonly Buffer[]): Buffer
}

/**
 * A good stream with bad messages between its own. After one that is refused, a new session goes on at what the window
 * has received, as the bridge does; unless a bad message was taken for a good one, all events of the good stream must
 * come out then, once and in order.
 */
export function runStreamCase(language: StreamLanguage, random: SeededRandom, log: CaseLog): void {
  const transactions = goodStream(language, random)
  const all = transactions.flatMap(({ messages }) => messages)
  const window = emptyWindow()
  const published: (string | null)[] = []
  let mistakes = random.between(4, 24)
  for (let sessions = 0; ; sessions++) {
    mustHold(sessions < 100, 'more sessions than mistakes')
    const session = new StreamSession(language.decoder(), random, window)
    const ended = playSession(session, rest(transactions, window), () => {
      if (mistakes === 0 || random.chance(0.5)) return undefined
      mistakes--
      return badMessage(language, random, all, log)
    })
    published.push(...session.eventIds)
    if (ended === 'mistaken') return
    if (ended === 'over') {
      session.settleAll()
      break
    }
  }
  const expected = transactions.flatMap(({ eventIds }) => eventIds)
  mustHold(published.join() === expected.join(), () => `published ${published.join()}, expected ${expected.join()}`)
  mustHold(window.settled.lsn === transactions.at(-1)?.endLsn, 'not all of the good stream is settled')

  function playSession(
    session: StreamSession,
    good: readonly Transaction[],
    nextBad: () => Buffer | undefined,
  ): 'over' | 'refused' | 'mistaken' {
    let isMistaken = false
    for (const { messages, endLsn } of good) {
      for (const message of messages) {
        const bad = nextBad()
        if (bad !== undefined) {
          const code = session.feed(bad, language.said(bad))
          if (code === undefined) log.accept()
          else log.refuse(code)
          if (code !== undefined) return isMistaken ? 'mistaken' : 'refused'
          isMistaken ||= !language.isHarmless(bad)
        }
        const code = session.feed(message, language.said(message))
        mustHold(code === undefined || isMistaken, () => `a good message was refused with ${code}`)
        if (code !== undefined) return 'mistaken'
      }
      if (random.chance(0.3)) session.keepalive(endLsn)
    }
    return isMistaken ? 'mistaken' : 'over'
  }
}

function goodStream(language: StreamLanguage, random: SeededRandom): Transaction[] {
  let lsn = BigInt(random.between(1, 2 ** 31)) * 2n ** BigInt(random.between(0, 30))
  return Array.from({ length: random.between(2, 5) }, (_, number) => {
    const ids = Array.from({ length: random.between(0, 3) }, (_, row) => `ae016f5b-fb13-47c8-bf6c-${number}00${row}`)
    const transaction = language.transaction(
      lsn,
      ids.map((id) => id.padEnd(36, '0')),
    )
    // Another transaction may commit where the last one ended.
    lsn = transaction.endLsn + BigInt(random.between(0, 2) * 64)
    return transaction
  })
}

/** Transactions that PostgreSQL sends to a session that starts at what the window has received. */
function rest(transactions: readonly Transaction[], window: ConfirmWindow): Transaction[] {
  return transactions.filter(({ endLsn }) => endLsn > window.received.lsn)
}

function badMessage(language: StreamLanguage, random: SeededRandom, good: readonly Buffer[], log: CaseLog): Buffer {
  const kind = random.next()
  const message =
    kind < 0.85
      ? language.mutate(random, pick(random, good), good)
      : kind < 0.95
        ? pick(random, good)
        : noise(random, 64)
  log.input(message)
  return message
}
