import type pg from 'pg'
import { type BridgeError, toBridgeError } from '../base/errors.ts'
import { describePostgresUrl } from '../base/postgres-url.ts'
import { parseTableName } from '../base/sql.ts'
import type { ReplayWindowLimits } from '../replay/plan-anchors.ts'
import { type ColumnSetting, resolveColumns } from '../routing/column-map.ts'
import { checkBroker, type PrepareOptions } from '../sink/broker-setup.ts'
import { toSourceError } from '../source/failure.ts'
import { checkPublication, checkTable } from './check-columns.ts'
import { checkGrants } from './check-grants.ts'
import { checkPosition } from './check-position.ts'
import { checkReplayWindow } from './check-replay-window.ts'
import { checkRetention } from './check-retention.ts'
import { readServerSettings, serverFindings } from './check-server.ts'
import { checkTopology } from './check-topology.ts'
import { connectControl, defaultConnectTimeout, endControl } from './connect.ts'
import { type CheckFinding, good, problem } from './finding.ts'
import { requireSchema } from './migrate.ts'
import type { OutboxNames } from './outbox-guard.ts'
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
  readonly replayWindow: ReplayWindowLimits
  /** outbox.retention, milliseconds; 0 is off. */
  readonly retention: number
  /** Undefined leaves the broker alone. */
  readonly broker: Omit<PrepareOptions, 'create'> | undefined
}

/**
 * Preflight: looks at everything that the bridge will need, changes nothing, and tells all of it at once; one problem
 * does not hide the next. Never rejects: what cannot be looked at is a finding as well.
 */
export async function runCheck(options: CheckOptions): Promise<CheckFinding[]> {
  const { broker } = options
  const [source, sink] = await Promise.all([checkSource(options), broker === undefined ? [] : checkSink(broker)])
  return [...source, ...sink]
}

async function checkSink(broker: Omit<PrepareOptions, 'create'>): Promise<CheckFinding[]> {
  const found = await checkBroker(broker)
  const findings = found.map((finding): CheckFinding => ({ severity: 'problem', remedy: null, ...finding }))
  // Without a connection its topology has nothing to add.
  return findings[0]?.ok === true ? [...findings, ...(await checkTopology(broker))] : findings
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
    ...(await look('grants', () => checkGrants(client, names.table.schema))),
    ...(await look('schema', async () => {
      await requireSchema(client)
      return [good('schema', 'wal2rabbit, up to date')]
    })),
    ...(await look('table', () => checkTable(client, names))),
    ...(plugin === 'pgoutput' ? await look('publication', () => checkPublication(client, names)) : []),
    ...(await look('slot', () => checkPosition(client, { url: options.url, slot, plugin }))),
    ...(await look('outbox retention', () => checkRetention(client, options))),
    ...(await look('replay window', () => checkReplayWindow(client, slot, options.replayWindow))),
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
