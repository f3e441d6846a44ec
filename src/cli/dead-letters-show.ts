import { isUtf8 } from 'node:buffer'
import type { WholeDeadLetter } from '../dead-letter/dead-letter.ts'
import { missingEvents, readDeadLetters } from '../dead-letter/find-dead-letters.ts'
import { type CliContext, colour, type ExitCode, exitCodes, printData, printJson, printNote } from './context.ts'
import { withDeadLetters } from './dead-letters-connection.ts'
import { describeLetter } from './dead-letters-list.ts'
import { type ConfigFlags, loadFor } from './options.ts'
import { formatFacts } from './table.ts'

export async function showCommand(
  context: CliContext,
  eventIds: readonly string[],
  flags: ConfigFlags & { readonly json?: boolean },
): Promise<ExitCode> {
  const loaded = await loadFor(context, flags)
  return withDeadLetters(loaded, 'reading the dead letters', async (client, slot) => {
    const missing = await missingEvents(client, slot, eventIds)
    const letters: WholeDeadLetter[] = []
    // One by one: a body may be large.
    for (const eventId of eventIds) {
      for (const letter of await readDeadLetters(client, slot, eventId)) {
        if (flags.json === true) letters.push(letter)
        else printLetter(context, letter)
      }
    }
    if (flags.json === true) printJson(context, letters.map(describeWhole))
    for (const eventId of missing) printMissing(context, eventId, slot)
    return missing.length === 0 ? exitCodes.done : exitCodes.failed
  })
}

export function printMissing(context: CliContext, eventId: string, slot: string): void {
  printNote(context, `no dead letter of slot ${slot} has the event id ${JSON.stringify(eventId)}`)
}

function describeWhole(letter: WholeDeadLetter): object {
  return {
    ...describeLetter(letter),
    properties: propertiesOf(letter),
    rowColumns: letter.rowColumns,
    rowShape: letter.rowShape,
    body: letter.body === null ? null : { encoding: 'base64', data: letter.body.toString('base64') },
  }
}

function printLetter(context: CliContext, letter: WholeDeadLetter): void {
  const title = (text: string) => printData(context, `\n${colour(context, context.stdout, 'bold', text)}`)
  printData(context, colour(context, context.stdout, 'bold', `event ${letter.eventId ?? 'without id'}`))
  printData(context, visible(formatFacts(describeLetter(letter))))
  title('properties')
  printData(
    context,
    letter.message === null
      ? '- (the row could not be made into a message)'
      : visible(JSON.stringify(propertiesOf(letter), null, 2)),
  )
  title('row columns')
  printData(context, visible(formatFacts(letter.rowColumns)))
  const fromBody = letter.rowShape.filter(({ name }) => !Object.hasOwn(letter.rowColumns, name))
  for (const { name, leftOut } of fromBody) {
    printData(context, leftOut === undefined ? `${name}: see the body` : `${name}: not kept, ${leftOut} bytes`)
  }
  const text = letter.body === null || isUtf8(letter.body)
  title(`body (${letter.bodyBytes} bytes${text ? '' : ', in base64'})`)
  if (letter.body !== null) {
    printData(context, text ? visible(letter.body.toString('utf8')) : letter.body.toString('base64'))
  }
  printData(context, '')
}

/** As stored, where a 64-bit integer is `{ "!": "int64", "value": "…" }`. Exchange and routing key stand elsewhere. */
function propertiesOf({ message }: WholeDeadLetter): object | null {
  if (message === null) return null
  const { exchange: _exchange, routingKey: _routingKey, ...properties } = JSON.parse(message)
  return properties
}

/** An application's bytes must not steer the terminal; line ends and tabs are harmless. */
function visible(text: string): string {
  return text.replace(/[^\P{Cc}\n\t]/gu, (control) => `\\x${control.charCodeAt(0).toString(16).padStart(2, '0')}`)
}
