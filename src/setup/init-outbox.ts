import { BridgeError } from '../base/errors.ts'
import { inTransaction } from '../base/in-transaction.ts'
import { quoteIdent, quoteLiteral, quoteTable } from '../base/sql.ts'
import { unstreamedUntilClaim } from '../checkpoint/checkpoint-store.ts'
import {
  createPublicationSql,
  inspectPublication,
  type PublicationFacts,
  publicationProblem,
} from '../source/publication.ts'
import { inspectSlot } from '../source/slot.ts'
import { inspectTable } from '../source/table.ts'
import { attempt } from './connect.ts'
import type { InitContext, PlannedStep } from './init-step.ts'
import { migrate, readSchemaState } from './migrate.ts'
import { mappedColumns, verifyTable } from './outbox-guard.ts'
import { loadMigrations, migrationScript, outboxTableSql } from './sql-files.ts'

/** The bookkeeping schema: the numbered files that are not applied yet. */
export async function planSchema({ client }: InitContext): Promise<PlannedStep> {
  const migrations = await loadMigrations()
  const { version, expected, pending } = await readSchemaState(client, migrations)
  const name = 'schema wal2rabbit'
  if (pending.length === 0) return { name, outcome: 'kept', sql: '', detail: `version ${version}` }
  return {
    name,
    outcome: version === 0 ? 'created' : 'changed',
    sql: pending.map(migrationScript).join('\n'),
    detail: `version ${expected}`,
    apply: async () => {
      const applied = await migrate(client, migrations)
      return applied.length === 0 ? { outcome: 'kept', sql: '' } : undefined
    },
  }
}

/** The outbox table: created where there is none and its columns are our own, otherwise only verified. */
export async function planTable(context: InitContext): Promise<PlannedStep> {
  const { client, table, ownColumns } = context
  const name = `table ${quoteTable(table)}`
  if ((await inspectTable(client, table)) !== undefined) {
    await verifyTable(client, context)
    return { name, outcome: 'kept', sql: '' }
  }
  if (!ownColumns) {
    throw new BridgeError(
      'TABLE_MISSING',
      `${name} does not exist, and source.columns maps one that is not made by init: expected an existing table`,
    )
  }
  const sql = await outboxTableSql(table)
  return {
    name,
    outcome: 'created',
    sql,
    apply: async () => {
      await attempt(`creating ${name}`, () => client.query({ text: sql }))
      return undefined
    },
  }
}

/**
 * The publication, before the slot: what is written between the two would otherwise be decoded without it. Created, or
 * given the table when that is all it lacks; anything else about it is the operator's to decide.
 */
export async function planPublication(context: InitContext): Promise<PlannedStep> {
  const { client, table, publication, columns } = context
  const name = `publication ${quoteIdent(publication)}`
  const facts = await inspectPublication(client, publication, table)
  const problem = publicationProblem(facts, mappedColumns(columns))
  if (problem === undefined) return { name, outcome: 'kept', sql: '' }

  const outcome = facts.exists ? 'changed' : 'created'
  const sql = facts.exists
    ? `ALTER PUBLICATION ${quoteIdent(publication)} ADD TABLE ${quoteTable(table)};`
    : `${createPublicationSql(publication, table)};`
  if (facts.exists && !lacksOnlyTheTable(facts)) throw new BridgeError('PUBLICATION_INCOMPLETE', problem)
  const slotExists = (await inspectSlot(client, context.slot)) !== undefined
  const late = lateSql(context)
  return {
    name,
    outcome,
    sql: slotExists ? `${sql}\n${late}` : sql,
    ...(slotExists && { detail: lateWarning(context) }),
    apply: async () => {
      const doing = facts.exists ? `adding the table to ${name}` : `creating ${name}`
      if (!slotExists) {
        await attempt(doing, () => client.query({ text: sql }))
        return undefined
      }
      await attempt(doing, () =>
        inTransaction(client, async () => {
          await client.query({ text: sql })
          // Killed before the next statement, it is the first claim of a bridge that does it.
          await client.query({ text: unstreamedSql(context, `'${unstreamedUntilClaim}'`) })
        }),
      )
      await attempt('noting what is not streamed', () => client.query({ text: late }))
      return undefined
    },
  }
}

/** In a transaction that begins once the publication is committed: what was written before it has a lower id. */
function lateSql(context: InitContext): string {
  return unstreamedSql(context, 'pg_current_xact_id()')
}

function unstreamedSql({ slot }: InitContext, below: string): string {
  return `UPDATE wal2rabbit.checkpoint SET unstreamed_below = ${below} WHERE slot = ${quoteLiteral(slot)};`
}

function lacksOnlyTheTable(facts: PublicationFacts): boolean {
  return !facts.holdsTable && facts.insert && (facts.viaRoot || !facts.tableIsPartitioned)
}

/** PostgreSQL decodes with the catalogs of the time: a publication does not count for rows that are older than it. */
function lateWarning({ slot, table }: InitContext): string {
  return `slot ${slot} is older than this: rows that were committed to ${quoteTable(table)} before now and not yet sent are left out of the stream: see "publish again" in docs/operations.md. Where the bridge halts with PUBLICATION_MISSING all the same, drop the slot and run "wal2rabbit init --accept-gap"`
}
