import type { PostgresClient } from '../base/postgres-client.ts'
import type { DeadLetter } from '../dead-letter/dead-letter.ts'
import { headsOfAggregates } from '../dead-letter/plan-retry.ts'
import { type CliContext, printNote } from './context.ts'

/** Aggregates that are named one by one. */
const named_max = 20
/** Aggregates looked at together: of each only the oldest dead letter is of interest. */
const group_size = 500

/** For --json. */
export interface StrandedFacts {
  readonly aggregates: number
  /** Commands that deliver their events, in order. */
  readonly run: readonly string[]
}

/**
 * Aggregates of which a command has settled an event while others were parked behind it. When it is stopped, or fails,
 * before these are delivered, no dead letter is left that they wait for, and the bridge does not send them by itself:
 * somebody has to be told.
 */
export class Stranded {
  /** TYPE/ID by key. */
  readonly #touched = new Map<string, string>()

  note({ isAggregateParked, aggregateKey, aggregateType, aggregateId }: DeadLetter): void {
    if (!isAggregateParked || aggregateKey === null) return
    this.#touched.set(aggregateKey, `${aggregateType}/${aggregateId}`)
  }

  /** Which of them have parked events that wait for nothing. Errors are those of the client. */
  async find(client: PostgresClient, slot: string): Promise<StrandedFacts> {
    const found: string[] = []
    const keys = [...this.#touched.keys()]
    for (let from = 0; from < keys.length; from += group_size) {
      const group = keys.slice(from, from + group_size)
      const closed = new Set<string>()
      for (const { aggregateKey, waits } of await headsOfAggregates(client, slot, group, undefined)) {
        if (aggregateKey === null || closed.has(aggregateKey)) continue
        closed.add(aggregateKey)
        if (waits) found.push(this.#touched.get(aggregateKey) ?? '')
      }
    }
    return factsOf(found)
  }

  /** Where PostgreSQL cannot be asked any more. */
  get suspects(): StrandedFacts {
    return factsOf([...this.#touched.values()])
  }
}

/** Says that events are left behind, and what to run. */
export function printStranded(
  context: CliContext,
  { aggregates, run }: StrandedFacts,
  parked: 'are still parked' | 'may still be parked',
): void {
  if (aggregates === 0) return
  const whose = aggregates === 1 ? 'an aggregate' : `${aggregates} aggregates`
  const text = `events of ${whose} ${parked}, and nothing sends them; to deliver them run, with the same configuration:`
  printNote(context, [text, ...run.map((command) => `  ${command}`)].join('\n'))
}

function factsOf(names: readonly string[]): StrandedFacts {
  const all = 'wal2rabbit dead-letters retry --reason EVENT_PARKED'
  const run = names.map((name) => `wal2rabbit dead-letters retry --aggregate ${shellWord(name)}`)
  return { aggregates: names.length, run: names.length > named_max ? [all] : run }
}

/** As one word of a POSIX shell; of bash, where it holds what a terminal would not print. */
export function shellWord(text: string): string {
  if (/^[\w@%+=:,./-]+$/.test(text)) return text
  if (!/\p{C}/u.test(text)) return `'${text.replaceAll("'", String.raw`'\''`)}'`
  const escaped = text
    .replace(/[\\']/g, String.raw`\$&`)
    .replace(/\p{C}/gu, (character) => `\\U${(character.codePointAt(0) ?? 0).toString(16).padStart(8, '0')}`)
  return `$'${escaped}'`
}
