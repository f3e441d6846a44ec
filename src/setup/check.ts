import type pg from 'pg'
import { type BridgeError, toBridgeError } from '../base/errors.ts'
import { describePostgresUrl } from '../base/postgres-url.ts'
import { parseTableName } from '../base/sql.ts'
import { type ColumnSetting, resolveColumns } from '../routing/column-map.ts'
import { type BrokerTarget, checkBroker } from '../sink/broker-setup.ts'
import { toSourceError } from '../source/failure.ts'
import { checkPosition } from './check-position.ts'
import { readServerSettings, serverFindings } from './check-server.ts'
import { connectControl, defaultConnectTimeout, endControl } from './connect.ts'
import { type CheckFinding, good, problem } from './finding.ts'
import { requireSchema } from './migrate.ts'
import { type OutboxNames, verifyPublication, verifyTable } from './outbox-guard.ts'
import { askReplication } from './replication-question.ts'

export interface CheckOptions {
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
  readonly broker: BrokerTarget | undefined
}

/**
 * Preflight: looks at everything that the bridge will need, changes nothing, and tells all of it at once; one problem
 * does not hide the next. Never rejects: what cannot be looked at is a finding as well.
 */
export async function runCheck(options: CheckOptions): Promise<CheckFinding[]> {
  const { broker } = options
  const [source, sink] = await Promise.all([checkSource(options), broker === undefined ? [] : checkBroker(broker)])
  const ofSink = sink.map((finding): CheckFinding => ({ severity: 'problem', remedy: null, ...finding }))
  return [...source, ...ofSink]
}

async function checkSource(options: CheckOptions): Promise<CheckFinding[]> {
  let client: pg.Client
  try {
    client = await connectControl({
      url: options.url,
      applicationName: 'wal2rabbit check',
      statementTimeout: 10_000,
      connectTimeout: options.connectTimeout ?? defaultConnectTimeout,
    })
  } catch (error) {
    return [problem('postgresql', toBridgeError(error))]
  }
  try {
    return [good('postgresql', describePostgresUrl(options.url)), ...(await checkDatabase(client, options))]
  } finally {
    await endControl(client)
  }
}

async function checkDatabase(client: pg.Client, options: CheckOptions): Promise<CheckFinding[]> {
  const { slot, publication, plugin } = options
  const names: OutboxNames = {
    plugin,
    publication,
    table: parseTableName(options.table),
    columns: resolveColumns(options.columns),
  }
  return [
    ...(await look('server settings', async () => serverFindings(await readServerSettings(client)))),
    ...(await look('replication connection', async () => {
      await askReplication(options.url, 'IDENTIFY_SYSTEM', 'opening a replication connection')
      return [good('replication connection', 'let in by pg_hba.conf')]
    })),
    ...(await look('schema', async () => {
      await requireSchema(client)
      return [good('schema', 'wal2rabbit, up to date')]
    })),
    ...(await look('table', async () => {
      await verifyTable(client, names)
      return [good('table', `${options.table} has all mapped columns`)]
    })),
    ...(plugin === 'pgoutput'
      ? await look('publication', async () => {
          await verifyPublication(client, names)
          return [good('publication', `${publication} publishes inserts into ${options.table}`)]
        })
      : []),
    ...(await look('slot', () => checkPosition(client, { url: options.url, slot, plugin }))),
  ]
}

/** One look; an error becomes the finding of that name. */
async function look(name: string, examine: () => Promise<CheckFinding[]>): Promise<CheckFinding[]> {
  try {
    return await examine()
  } catch (error) {
    const known: BridgeError = toSourceError(error, { doing: `looking at the ${name}` })
    return [problem(name, known)]
  }
}
