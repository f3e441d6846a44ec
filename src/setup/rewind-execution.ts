import { assert } from '../base/assert.ts'
import { BridgeError } from '../base/errors.ts'
import { type FailPointName, failPoint } from '../base/fail-point.ts'
import { formatLsn, type Lsn } from '../base/lsn.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import { quoteIdent } from '../base/sql.ts'
import { describePosition } from '../checkpoint/positions.ts'
import type { RewindFacts, RewindStep } from '../replay/rewind-step.ts'
import { copySlot, dropSlot, inspectSlot } from '../source/slot.ts'
import { attempt } from './connect.ts'
import { askReplication } from './replication-question.ts'
import { deleteIntent, moveCheckpoint } from './rewind-changes.ts'
import { lookAtRewind, type RewindSight } from './rewind-facts.ts'

export interface RewindExecution {
  readonly client: PostgresClient
  /** For commands that PostgreSQL takes on a replication connection alone. */
  readonly url: string
  readonly slot: string
  readonly plugin: string
  /** What comes next, by the facts alone. */
  readonly next: (facts: RewindFacts) => RewindStep | BridgeError
  /** Milliseconds to wait for a process that holds the slot. */
  readonly slotTimeout: number
  /** Called with each step as it is done, for people. */
  readonly onStep: (text: string) => void
}

/** Milliseconds between two looks at a slot that is in use. */
const lookInterval = 100

/** Takes one step after the other, each after a new look, until the intent is gone. Rejects with what keeps it from that. */
export async function carryOutRewind(execution: RewindExecution): Promise<void> {
  let deadline = performance.now() + execution.slotTimeout
  for (let isFinished = false; !isFinished; ) {
    const sight = await lookAtRewind(execution.client, execution)
    assert(sight !== undefined, 'the intent of a rewind went away while its lock was held')
    const step = execution.next(sight.facts)
    const refused = step instanceof BridgeError ? step : await takeStep(execution, sight, step)
    if (refused === undefined) {
      isFinished = !(step instanceof BridgeError) && step.kind === 'finish'
      deadline = performance.now() + execution.slotTimeout
    } else {
      // A bridge that was just about to start lets go of the slot once it finds that it cannot claim.
      if (!isInUse(refused) || performance.now() > deadline) throw refused
      await pause(lookInterval)
    }
  }
}

/** Resolves when nobody streams from the slot, or there is none. Rejects with BRIDGE_RUNNING after `timeout` ms. */
export async function waitForFreeSlot(client: PostgresClient, slot: string, timeout: number): Promise<void> {
  const deadline = performance.now() + timeout
  for (let found = await inspectSlot(client, slot); found?.active; found = await inspectSlot(client, slot)) {
    if (performance.now() > deadline) {
      throw new BridgeError(
        'BRIDGE_RUNNING',
        `slot ${slot} is streamed by another process (server pid ${found.activePid})`,
      )
    }
    await pause(lookInterval)
  }
}

/** Undefined when done; SLOT_ACTIVE when somebody took the slot since it was looked at. */
async function takeStep(
  execution: RewindExecution,
  sight: RewindSight,
  step: RewindStep,
): Promise<BridgeError | undefined> {
  try {
    const { slot, onStep } = execution
    const doing = `rewinding slot ${slot} (${step.kind})`
    const { said, point } = await attempt(doing, () => applyStep(execution, sight, step))
    if (point !== undefined) failPoint(point)
    onStep(said)
    return undefined
  } catch (error) {
    if (error instanceof BridgeError && isInUse(error)) return error
    throw error
  }
}

interface DoneStep {
  readonly said: string
  readonly point?: FailPointName
}

async function applyStep(
  { client, url }: RewindExecution,
  { facts, row }: RewindSight,
  step: RewindStep,
): Promise<DoneStep> {
  const { slot, target, from } = facts.intent
  const staging = facts.stagingName
  switch (step.kind) {
    case 'stage':
      await copyReaching(client, step.base, staging, target.lsn)
      return { said: `copied slot ${step.base} to ${staging}`, point: 'rewind-staged' }
    case 'restage':
      await dropSlot(client, staging)
      return { said: `dropped slot ${staging}, which no longer reaches back to the target` }
    case 'move':
      await moveCheckpoint(client, row!, target)
      return { said: `moved the stored position to ${describePosition(target)}`, point: 'rewind-moved' }
    case 'restore':
      await moveCheckpoint(client, row!, from)
      return { said: `moved the stored position back to ${describePosition(from)}` }
    case 'drop':
      await dropSlot(client, slot)
      return { said: `dropped slot ${slot}`, point: 'rewind-dropped' }
    case 'replace':
      await copyReaching(client, staging, slot, target.lsn)
      return { said: `copied slot ${staging} to ${slot}`, point: 'rewind-replaced' }
    case 'unstage':
      await dropSlot(client, staging)
      return { said: `dropped slot ${staging}`, point: 'rewind-unstaged' }
    case 'failover':
      await askReplication(url, setFailoverSql(slot), `giving slot ${slot} failover = true again`)
      return { said: `gave slot ${slot} failover = true again` }
    case 'finish':
      await deleteIntent(client, slot)
      return { said: 'bridges may start again', point: 'rewind-done' }
  }
}

/** Source: PostgreSQL documentation, "Streaming Replication Protocol", ALTER_REPLICATION_SLOT. */
function setFailoverSql(slot: string): string {
  return `ALTER_REPLICATION_SLOT ${quoteIdent(slot)} (FAILOVER true)`
}

/** PostgreSQL would start a copy that stands further on at its own position, without a word. */
async function copyReaching(client: PostgresClient, from: string, to: string, target: Lsn): Promise<void> {
  const reached = await copySlot(client, from, to)
  assert(reached <= target, () => `the copy of ${from} begins at ${formatLsn(reached)}, above ${formatLsn(target)}`)
}

function isInUse({ code }: BridgeError): boolean {
  return code === 'BRIDGE_RUNNING' || code === 'SLOT_ACTIVE'
}

function pause(duration_ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, duration_ms))
}
