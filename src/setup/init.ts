import { parseTableName } from '../base/sql.ts'
import { type ColumnSetting, resolveColumns } from '../routing/column-map.ts'
import type { PrepareOptions } from '../sink/broker-setup.ts'
import { attempt, defaultConnectTimeout, withControl } from './connect.ts'
import { planBackfill, planBackfillDry } from './init-backfill.ts'
import { initBroker } from './init-broker.ts'
import { planPublication, planSchema, planTable } from './init-outbox.ts'
import { planPosition } from './init-position.ts'
import type { InitContext, InitStep, PlannedStep } from './init-step.ts'
import type { PublishBackfill } from './run-backfill.ts'
import { takeSlotLock, withSharedLock } from './setup-lock.ts'

export interface InitOptions {
  readonly url: string
  /** Milliseconds; default 10 s. */
  readonly connectTimeout?: number
  readonly slot: string
  readonly publication: string
  readonly plugin: 'pgoutput' | 'wal2json'
  /** `schema.table`, as in the configuration. */
  readonly table: string
  readonly columns: ColumnSetting
  /** Undefined leaves the broker alone. */
  readonly broker: Omit<PrepareOptions, 'create'> | undefined
  /** Looks and tells, changes nothing. */
  readonly dryRun: boolean
  /** Publishes the rows that are there already, before slot and checkpoint are made; undefined leaves them unsent. */
  readonly backfill?: PublishBackfill | undefined
  /** Goes on although events between the stored LSN and the slot are lost to the stream. */
  readonly acceptGap: boolean
  /** Called with each step as it is done. */
  readonly onStep?: (step: InitStep) => void
  /** Called with a line for the operator while something takes long. */
  readonly onNotice?: (text: string) => void
}

/**
 * Creates or upgrades everything that the bridge needs, and tells for each object whether it was kept, created or
 * changed. Safe to repeat, safe to run twice at once, and safe to kill: what was done is kept by the next run. The slot
 * comes last of what can fail, because from then on it keeps WAL.
 *
 * Rejects with a BridgeError; with the halts of the start-up guards when the checkpoint no longer fits its slot.
 */
export async function runInit(options: InitOptions): Promise<InitStep[]> {
  const done: InitStep[] = []
  const note = (step: InitStep) => {
    done.push(step)
    options.onStep?.(step)
  }
  // No statement timeout: creating a slot waits for older transactions, however long they take.
  const { url, connectTimeout = defaultConnectTimeout } = options
  const control = { url, applicationName: 'wal2rabbit init', statementTimeout: 0, connectTimeout }
  await withControl(control, 'preparing PostgreSQL', async (client) => {
    const notice = options.onNotice ?? (() => undefined)
    // For the session, not for a transaction: a slot cannot be created in one that has written.
    if (!options.dryRun) await takeSlotLock(client, options.slot, { notice })
    const context: InitContext = {
      client,
      url: options.url,
      connectTimeout,
      slot: options.slot,
      publication: options.publication,
      plugin: options.plugin,
      table: parseTableName(options.table),
      columns: resolveColumns(options.columns),
      ownColumns: options.columns === 'default',
      acceptGap: options.acceptGap,
      notice,
    }
    const carryOut = async (step: PlannedStep) => note(await finish(step, options.dryRun))
    const prepareShared = async () => {
      await carryOut(await attempt('looking at the schema', () => planSchema(context)))
      await carryOut(await attempt('looking at the table', () => planTable(context)))
      if (options.plugin !== 'pgoutput') return
      await carryOut(await attempt('looking at the publication', () => planPublication(context)))
    }
    await (options.dryRun ? prepareShared() : withSharedLock(client, { notice }, prepareShared))
    if (options.broker !== undefined) {
      for (const step of await initBroker(options.broker, options.dryRun)) note(step)
    }
    const steps = await attempt('looking at slot and checkpoint', () => planStart(context, options))
    for (const step of steps) {
      await carryOut(step)
      if (done.at(-1)?.outcome === 'stopped') break
    }
  })
  return done
}

async function planStart(context: InitContext, { backfill, dryRun }: InitOptions): Promise<PlannedStep[]> {
  if (backfill === undefined) return planPosition(context)
  if (dryRun) return planBackfillDry(context)
  // While rows are published, this connection may have nothing to do for hours.
  await context.client.query({ text: 'SET idle_session_timeout = 0' })
  return planBackfill(context, backfill)
}

async function finish({ apply, ...step }: PlannedStep, dryRun: boolean): Promise<InitStep> {
  const result = dryRun ? undefined : await apply?.()
  return { ...step, ...result }
}
