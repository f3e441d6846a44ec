import { formatLsn, noLsn } from '../base/lsn.ts'
import type { DeadLetter } from '../dead-letter/dead-letter.ts'
import { countDeadLetters, listDeadLetters } from '../dead-letter/find-dead-letters.ts'
import { type CliContext, type ExitCode, exitCodes, printData, printJson, printNote } from './context.ts'
import { withDeadLetters } from './dead-letters-connection.ts'
import { type SelectionFlags, selectionOf } from './dead-letters-options.ts'
import { loadFor } from './options.ts'
import { formatTable } from './table.ts'

export async function listCommand(
  context: CliContext,
  flags: SelectionFlags & { readonly limit: number },
): Promise<ExitCode> {
  const loaded = await loadFor(context, flags)
  const selection = selectionOf([], flags)
  const { total, letters } = await withDeadLetters(loaded, 'reading the dead letters', async (client, slot) => ({
    total: await countDeadLetters(client, slot, selection),
    letters: await listDeadLetters(client, slot, selection, flags.limit),
  }))
  if (flags.json === true) {
    printJson(context, { total, deadLetters: letters.map(describeLetter) })
    return exitCodes.done
  }
  const ofReplays = letters.some(({ replayId }) => replayId !== null)
  if (letters.length > 0) printData(context, formatTable(letters.map((letter) => lineOf(letter, ofReplays))))
  else printNote(context, `no dead letters of slot ${loaded.config.source.slot} found`)
  if (total > letters.length) {
    printNote(context, `${total - letters.length} older ones are not shown (--limit ${flags.limit})`)
  }
  return exitCodes.done
}

/** The stable JSON form of a dead letter, without its content. */
export function describeLetter(letter: DeadLetter): object {
  return {
    eventId: letter.eventId,
    aggregateType: letter.aggregateType,
    aggregateId: letter.aggregateId,
    type: letter.type,
    position: { commitLsn: formatLsn(letter.commitLsn), ordinal: letter.ordinal },
    committedAt: letter.committedAt,
    reason: { code: letter.reasonCode, text: letter.reasonText },
    attempts: letter.attempts,
    firstFailedAt: letter.firstFailedAt,
    lastFailedAt: letter.lastFailedAt,
    exchange: letter.exchange,
    routingKey: letter.routingKey,
    bodyBytes: letter.bodyBytes,
    state: letter.state,
    aggregateParked: letter.isAggregateParked,
    replayId: letter.replayId,
  }
}

const cell_length_max = 60

/** A row of the table has no position: its replay read it from there. */
function lineOf(letter: DeadLetter, ofReplays: boolean): object {
  const line = {
    eventId: letter.eventId,
    aggregate: letter.aggregateType === null ? null : `${letter.aggregateType}/${letter.aggregateId ?? ''}`,
    type: letter.type,
    position: letter.commitLsn === noLsn ? null : `${formatLsn(letter.commitLsn)}#${letter.ordinal}`,
    reason: letter.reasonCode,
    attempts: String(letter.attempts),
    lastFailedAt: letter.lastFailedAt,
    ...(ofReplays && { replay: letter.replayId }),
    text: letter.reasonText,
  }
  return Object.fromEntries(Object.entries(line).map(([name, value]) => [name, value === null ? null : short(value)]))
}

/** One line of a terminal, whatever an application writes into its columns. */
export function short(text: string): string {
  const plain = text.replace(/\p{C}/gu, '?')
  return plain.length <= cell_length_max ? plain : `${plain.slice(0, cell_length_max - 1)}…`
}
