import { BridgeError } from '../base/errors.ts'
import type { PostgresClient } from '../base/postgres-client.ts'
import { quoteIdent } from '../base/sql.ts'
import { type CheckFinding, good, problem, warning } from './finding.ts'

/** `run`: the bridge; `redeliver`: `dead-letters retry` and `discard`; `replay`: also a backfill; `rewind`. */
export type Purpose = 'run' | 'redeliver' | 'replay' | 'rewind'

type Right = 'SELECT' | 'INSERT' | 'UPDATE' | 'DELETE'

/** What each purpose does with the tables of the schema wal2rabbit: no more than sql/roles.sql grants. */
const neededRights: Readonly<Record<string, Readonly<Partial<Record<Purpose, readonly Right[]>>>>> = {
  schema_migration: { run: ['SELECT'], redeliver: ['SELECT'], replay: ['SELECT'], rewind: ['SELECT'] },
  checkpoint: { run: ['SELECT', 'UPDATE'], replay: ['SELECT'], rewind: ['SELECT', 'UPDATE'] },
  checkpoint_history: { run: ['SELECT', 'INSERT', 'DELETE'], replay: ['SELECT'], rewind: ['SELECT', 'INSERT'] },
  // Brought up to date where it is kept already.
  dead_letter: {
    run: ['SELECT', 'INSERT', 'UPDATE'],
    redeliver: ['SELECT', 'UPDATE', 'DELETE'],
    replay: ['SELECT', 'INSERT', 'UPDATE'],
  },
  parked_aggregate: { run: ['SELECT', 'INSERT', 'UPDATE', 'DELETE'], redeliver: ['SELECT', 'UPDATE', 'DELETE'] },
  dead_letter_audit: { redeliver: ['INSERT'] },
  replay: {
    run: ['SELECT'],
    redeliver: ['SELECT'],
    replay: ['SELECT', 'INSERT', 'UPDATE'],
    rewind: ['SELECT'],
  },
  rewind: { run: ['SELECT'], rewind: ['SELECT', 'INSERT', 'UPDATE', 'DELETE'] },
  outbox_retention: { run: ['SELECT', 'INSERT', 'UPDATE'], replay: ['SELECT'] },
}

interface Need {
  readonly table: string
  readonly right: Right
}

interface MissingGrant {
  /** `role bridge lacks UPDATE on wal2rabbit.checkpoint`. */
  readonly text: string
  readonly statement: string
}

const schemaSql = `SELECT current_user AS role FROM pg_namespace
  WHERE nspname = $1 AND NOT has_schema_privilege(oid, 'USAGE')`

/** From the catalog, which anybody may read, whatever the schema itself refuses. */
const tablesSql = `
  SELECT current_user AS role, c.relname AS name, string_agg(need.what, ', ' ORDER BY need.place) AS rights
    FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS need (name, what, place)
    JOIN pg_class c ON c.relname = need.name AND c.relkind = 'r'
    JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'wal2rabbit'
    WHERE NOT has_table_privilege(c.oid, need.what)
    GROUP BY c.relname ORDER BY min(need.place)`

/** One finding for each grant that the role of this connection lacks; what is not there yet lacks none. */
export async function checkGrants(client: PostgresClient, outboxSchema: string): Promise<CheckFinding[]> {
  const toRun = await missingGrants(client, needsOf('run'))
  const schemas = new Set(['wal2rabbit', outboxSchema])
  for (const schema of schemas) toRun.push(...(await missingUsage(client, schema)))
  const toRedeliver = await missingGrants(client, needsBeyondRun())
  const findings = [
    ...toRun.map(({ text, statement }) => problem('grant', { message: text, remedy: remedyOf(statement) })),
    ...toRedeliver.map(({ text, statement }) =>
      warning('grant', `${text}: dead-letters retry and discard are refused`, remedyOf(statement)),
    ),
  ]
  return findings.length === 0 ? [good('grants', 'none is missing')] : findings
}

/**
 * Throws SOURCE_PERMISSION_DENIED with all the statements that are missing, before the work comes to need them. Whether
 * schema and tables are there is for others to say. Errors are else those of the client.
 */
export async function requireGrants(client: PostgresClient, purpose: Purpose): Promise<void> {
  const missing = [...(await missingUsage(client, 'wal2rabbit')), ...(await missingGrants(client, needsOf(purpose)))]
  if (missing.length === 0) return
  const texts = missing.map(({ text }) => text).join('; ')
  const statements = missing.map(({ statement }) => statement).join(' ')
  throw new BridgeError('SOURCE_PERMISSION_DENIED', `${texts}; expected as granted by: ${statements}`)
}

function needsOf(purpose: Purpose): Need[] {
  return Object.entries(neededRights).flatMap(([table, rights]) =>
    (rights[purpose] ?? []).map((right) => ({ table, right })),
  )
}

function needsBeyondRun(): Need[] {
  return needsOf('redeliver').filter(({ table, right }) => neededRights[table]?.run?.includes(right) !== true)
}

async function missingGrants(client: PostgresClient, needs: readonly Need[]): Promise<MissingGrant[]> {
  const values = [needs.map(({ table }) => table), needs.map(({ right }) => right)]
  const { rows } = await client.query({ text: tablesSql, values })
  return rows.map(({ role, name, rights }) => ({
    text: `role ${role} lacks ${rights} on wal2rabbit.${name}`,
    statement: `GRANT ${rights} ON wal2rabbit.${name} TO ${quoteIdent(String(role))};`,
  }))
}

async function missingUsage(client: PostgresClient, schema: string): Promise<MissingGrant[]> {
  const { rows } = await client.query({ text: schemaSql, values: [schema] })
  return rows.map(({ role }) => ({
    text: `role ${role} lacks USAGE on schema ${schema}`,
    statement: `GRANT USAGE ON SCHEMA ${quoteIdent(schema)} TO ${quoteIdent(String(role))};`,
  }))
}

function remedyOf(statement: string): string {
  return `Run as the owner: ${statement}`
}
