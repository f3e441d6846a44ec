import { BridgeError } from '../base/errors.ts'
import { formatLsn } from '../base/lsn.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import { inspectSlot } from '../source/slot.ts'
import { type CheckFinding, good, problem, warning } from './finding.ts'
import { judgePosition, lookAtPosition } from './position-facts.ts'

/**
 * Slot and checkpoint: both there, made for each other, and to be started from, as the start-up guards of a session see
 * it. Errors are those of the client.
 */
export async function checkPosition(
  client: PostgresClient,
  names: { readonly url: string; readonly slot: string; readonly plugin: string },
): Promise<CheckFinding[]> {
  const found = await lookAtPosition(client, names.slot)
  const verdict = await judgePosition(found, names)
  const { row, slot } = found
  const findings: CheckFinding[] = []
  if (verdict !== undefined) findings.push(problem('slot', verdict))
  else {
    const activity = slot!.active ? `streamed by pid ${slot!.activePid}` : 'not streamed now'
    findings.push(good('slot', `${names.slot} is usable, ${activity}`))
  }
  if (row !== undefined) findings.push(good('checkpoint', `stored LSN ${formatLsn(row.position.lsn)}, ${row.storedAt}`))
  else {
    const message = `wal2rabbit.checkpoint has no row for slot ${names.slot}`
    findings.push(problem('checkpoint', new BridgeError('CHECKPOINT_MISSING', message)))
  }
  findings.push(...(await checkRetained(client, names.slot)))
  return findings
}

async function checkRetained(client: PostgresClient, name: string): Promise<CheckFinding[]> {
  const slot = await inspectSlot(client, name)
  if (slot?.walStatus !== 'extended' && slot?.walStatus !== 'unreserved') return []
  const detail = `slot ${name} holds ${slot.retainedBytes} bytes of WAL (wal_status ${slot.walStatus})`
  return [warning('retained WAL', detail, 'Start the bridge, or see what keeps it from going on.')]
}
