import { styleText } from 'node:util'
import type { Balance } from './balance.ts'
import type { Event } from './consumer.ts'

const coloured = process.stdout.isTTY === true && !process.env.NO_COLOR

type Style = Parameters<typeof styleText>[0]

function paint(style: Style, text: string): string {
  return coloured ? styleText(style, text) : text
}

export function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

/** What the demo does next. */
export function stage(text: string): void {
  say(paint(['bold', 'cyan'], `== ${text}`))
}

/** What the shop does meanwhile. */
export function aside(text: string): void {
  say(paint('dim', `   shop: ${text}`))
}

/** One event as it arrives: time, routing key, id, position, commit to arrival. */
export function showEvent(event: Event): void {
  const time = new Date().toISOString().slice(11, 23)
  const position = `${event.lsn}#${event.ordinal}`.padEnd(14)
  const latency = `${event.latency.toFixed(1)} ms`.padStart(11)
  const line = `${time}  ${event.routingKey.padEnd(21)} ${event.id}  ${position} ${latency}`
  say(event.repeated ? paint('yellow', `${line}  again`) : line)
}

/** The account at the end, a line each; faults name up to three ids. */
export function showBalance(balance: Balance, storedLsn: string): void {
  const row = (label: string, value: string, fault = false) =>
    say(`  ${label.padEnd(28)} ${fault ? paint('red', value) : value}`)
  const faults = (label: string, ids: readonly string[], fine = '0') =>
    row(label, ids.length === 0 ? fine : `${ids.length}: ${ids.slice(0, 3).join(', ')}`, ids.length > 0)
  row('committed', String(balance.committed))
  row('delivered (different ids)', String(balance.delivered))
  faults('lost', balance.lost)
  row('rolled back', String(balance.rolledBack))
  faults('rolled back, yet seen', balance.rolledBackButSeen)
  faults('never written, yet seen', balance.unknown)
  row('repeated', String(balance.repeated))
  faults('repeated, other position', balance.moved)
  faults('out of order', balance.outOfOrder, 'none')
  row('stored LSN', storedLsn)
  faults('delivered, not yet stored', balance.notStored)
  say(
    paint(
      balance.right ? ['bold', 'green'] : ['bold', 'red'],
      balance.right ? 'The balance is right.' : 'The balance is WRONG.',
    ),
  )
}
