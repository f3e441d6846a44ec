import { ConfirmWindow } from '../../src/sink/confirm-window.ts'
import { windowRow } from '../sink/window-rows.ts'
import type { SeededRandom } from '../support/seeded-random.ts'
import { type CaseLog, type FuzzTarget, mustHold } from './fuzz-target.ts'
import { pick } from './mutation.ts'

export const answersTarget: FuzzTarget = {
  name: 'amqp-answers',
  about: 'acks, nacks and returns with any delivery tag, also multiple, into the window',
  weight: 25,
  start: () => ({ runCase: runAnswersCase }),
}

/** What the broker said, kept apart from the window: row numbers by delivery tag, and which rows are confirmed. */
class Ledger {
  outstanding = new Map<number, number>()
  sent = 0
  readonly confirmed = new Set<number>()
  readonly returned = new Set<number>()

  /** The rows that an answer speaks of; undefined for a tag that is not outstanding. */
  resolve(tag: number, multiple: boolean): number[] | undefined {
    if (!multiple) {
      const row = this.outstanding.get(tag)
      this.outstanding.delete(tag)
      return row === undefined ? undefined : [row]
    }
    const through = tag === 0 ? this.sent : tag
    const tags = [...this.outstanding.keys()].filter((one) => one <= through)
    if (tags.length === 0 || through > this.sent) return undefined
    return tags.map((one) => {
      const row = this.outstanding.get(one) ?? -1
      this.outstanding.delete(one)
      return row
    })
  }
}

function runAnswersCase(random: SeededRandom, log: CaseLog): void {
  const window = new ConfirmWindow({ messages: 64, bytes: 1024 * 1024 })
  const ledger = new Ledger()
  /** Where each row stands, and what the settled position is when all up to it are confirmed. */
  const rows: { commitLsn: bigint; ordinal: number; settledText: string }[] = []
  let lsn = 100n
  for (let steps = random.between(20, 80); steps > 0; steps--) {
    if (random.chance(0.3)) push()
    else if (random.chance(0.4)) send()
    else answer()
    checkSettled()
  }

  function push(): void {
    const count = random.between(1, 3)
    for (let ordinal = 0; ordinal < count; ordinal++) {
      window.pushRow(windowRow({ commitLsn: lsn, ordinal }))
      const isLast = ordinal === count - 1
      rows.push({ commitLsn: lsn, ordinal, settledText: isLast ? `${lsn + 8n}` : `${lsn}#${ordinal + 1}` })
    }
    window.pushCommit(lsn, lsn + 8n)
    lsn += 8n
  }

  function send(): void {
    for (let left = random.between(1, 8); left > 0; left--) {
      const row = window.nextUnsent()
      if (row === undefined) return
      const tag = window.sent(row, 0)
      ledger.sent++
      mustHold(tag === ledger.sent, () => `delivery tag ${tag}, expected ${ledger.sent}`)
      ledger.outstanding.set(tag, row.seq)
      ledger.returned.delete(row.seq)
    }
  }

  function answer(): void {
    const kind = pick(random, ['ack', 'ack', 'ack', 'nack', 'return', 'lost'])
    const tag = tagOf()
    const multiple = random.chance(0.3)
    log.input(`${kind} ${tag}${multiple ? ' multiple' : ''}`)
    if (kind === 'return') returned(tag)
    else if (kind !== 'lost') {
      confirm(kind === 'ack', tag, multiple)
      return
    } else if (random.chance(0.2)) lost()
    log.accept()
  }

  function confirm(isAck: boolean, tag: number, multiple: boolean): void {
    const before = snapshot()
    const expected = ledger.resolve(tag, multiple)
    const visited: number[] = []
    const known = window.answer(tag, multiple, (row) => {
      visited.push(row.seq)
      if (isAck && !row.returned) window.settle(row)
      else window.fail(row)
    })
    mustHold(known === (expected !== undefined), () => `tag ${tag} is ${known ? '' : 'not '}taken for outstanding`)
    mustHold(visited.join() === (expected ?? []).join(), () => `answered ${visited}, expected ${expected}`)
    for (const row of visited) if (isAck && !ledger.returned.has(row)) ledger.confirmed.add(row)
    if (known) {
      log.accept()
      return
    }
    // The bridge drops the channel then: nothing may have changed until that.
    mustHold(before === snapshot(), 'an answer that was refused changed something')
    log.refuse('SINK_PROTOCOL')
    lost()
  }

  function tagOf(): number {
    if (random.chance(0.7)) return random.between(0, ledger.sent + 1)
    return pick(random, [0, -1, ledger.sent + 1, 255, 2 ** 31, 2 ** 32, 2 ** 53, 2 ** 64])
  }

  /** As the sink does it: by the position that the returned message's headers carry. */
  function returned(tag: number): void {
    const row = rows[tag]
    const found = row === undefined ? window.find(BigInt(tag), tag) : window.find(row.commitLsn, row.ordinal)
    if (found?.state === 'in-flight') {
      found.returned = true
      ledger.returned.add(found.seq)
    }
  }

  function lost(): void {
    window.channelLost()
    ledger.outstanding = new Map()
    ledger.sent = 0
    ledger.returned.clear()
  }

  function checkSettled(): void {
    let settled = 0
    while (ledger.confirmed.has(settled)) settled++
    const expected = rows[settled - 1]?.settledText ?? '0'
    const { lsn: settledLsn, partial } = window.settled
    const text = partial === null ? `${settledLsn}` : `${partial.commitLsn}#${partial.rows}`
    mustHold(text === expected, () => `settled ${text}, but the broker has confirmed up to ${expected}`)
    mustHold(window.settledRows === settled, 'the number of settled rows is not that of the confirmed prefix')
  }

  function snapshot(): string {
    const { settled, received, inFlight, messages, settledRows } = window
    return `${settled.lsn} ${received.lsn} ${inFlight} ${messages} ${settledRows}`
  }
}
