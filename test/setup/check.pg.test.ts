import { readFile } from 'node:fs/promises'
import type pg from 'pg'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { removeDeadLetters } from '../../src/dead-letter/settle-dead-letters.ts'
import { type CheckOptions, runCheck } from '../../src/setup/check.ts'
import { connectCheckpoint } from '../../src/setup/checkpoint-connection.ts'
import { connectControl, endControl } from '../../src/setup/connect.ts'
import type { CheckFinding } from '../../src/setup/finding.ts'
import { runInit } from '../../src/setup/init.ts'
import { readStoredStatus } from '../../src/setup/stored-status.ts'
import { type FreshDatabase, freshDatabase, uniqueName } from '../support/services.ts'

let database: FreshDatabase
let client: pg.Client
let options: CheckOptions

beforeEach(async () => {
  database = await freshDatabase()
  client = await connectControl({ url: database.url, applicationName: 'test', statementTimeout: 20_000 })
  options = {
    url: database.url,
    slot: uniqueName('check'),
    publication: 'outbox_events',
    plugin: 'pgoutput',
    table: 'public.outbox',
    columns: 'default',
    replayWindow: { time: 3_600_000, bytes: 1024 * 1024 },
    retention: 0,
    broker: undefined,
  }
})

afterEach(async () => {
  await endControl(client)
  await database.drop()
})

const init = () => runInit({ ...options, dryRun: false, acceptGap: false, broker: undefined })
const problems = (findings: readonly CheckFinding[]) =>
  findings.filter((finding) => !finding.ok && finding.severity === 'problem')

test('after init there is no problem', async () => {
  await init()
  const findings = await runCheck(options)
  expect(problems(findings)).toEqual([])
  expect(findings.map((finding) => finding.name)).toEqual([
    'postgresql',
    'version',
    'primary',
    'wal_level',
    'replication slots',
    'walsenders',
    'role',
    'slot retention',
    'replication connection',
    'grants',
    'schema',
    'table',
    'publication',
    'slot',
    'checkpoint',
    'replay window',
  ])
})

test('before init all that is missing is told at once, each with a remedy', async () => {
  const found = problems(await runCheck(options))
  expect(found.map((finding) => finding.name)).toEqual(['schema', 'table', 'publication', 'slot', 'checkpoint'])
  for (const finding of found) expect(finding.remedy).toMatch(/init/)
  expect((await client.query(`SELECT to_regnamespace('wal2rabbit') AS schema`)).rows).toEqual([{ schema: null }])
})

test('what broke since is told at once as well', async () => {
  await init()
  await client.query(`ALTER TABLE outbox RENAME COLUMN type TO kind`)
  await client.query(`ALTER PUBLICATION outbox_events SET (publish = 'update')`)
  await client.query(`INSERT INTO wal2rabbit.schema_migration VALUES (900, '900_next.sql', 'c')`)
  await client.query('SELECT pg_replication_slot_advance($1, pg_current_wal_lsn())', [options.slot])
  const found = problems(await runCheck(options))
  expect(found.map((finding) => finding.name)).toEqual(['schema', 'table', 'publication', 'slot'])
  expect(found.map((finding) => finding.detail).join('\n')).toMatch(
    /version 900.*no column "type".*does not publish inserts.*above the stored/s,
  )
})

test('outbox.retention: what it lacks is a warning, with the statement that mends it', async () => {
  await init()
  const role = uniqueName('retention')
  const url = new URL(database.url)
  const found = async (changes: Partial<CheckOptions> = {}) => {
    const findings = await runCheck({ ...options, retention: 3_600_000, ...changes })
    return findings.filter((finding) => finding.name === 'outbox retention')
  }
  expect(await found({ retention: 0 })).toEqual([])
  expect(await found()).toMatchObject([{ ok: true, detail: expect.stringContaining('older than 1h') }])
  expect(await found({ columns: { created_at: null } })).toMatchObject([
    {
      ok: false,
      severity: 'warning',
      detail: expect.stringContaining('no created_at'),
      remedy: expect.stringMatching(/^Map/),
    },
  ])
  await client.query(`INSERT INTO outbox (aggregate_type, aggregate_id, type, created_at)
    VALUES ('a', 'streamed', 'T', now() - interval '2 hours')`)
  expect(await found()).toMatchObject([{ ok: true }])
  await client.query('UPDATE wal2rabbit.checkpoint SET unstreamed_below = pg_current_xact_id()')
  expect(await found()).toMatchObject([
    { severity: 'warning', detail: expect.stringContaining('may never have streamed'), remedy: expect.any(String) },
  ])
  expect(await found({ retention: 3 * 3_600_000 })).toMatchObject([{ ok: true }])
  await client.query(`CREATE ROLE ${role} LOGIN PASSWORD 'x'; GRANT SELECT ON outbox TO ${role}`)
  try {
    url.username = role
    url.password = 'x'
    expect(await found({ url: url.href })).toMatchObject([
      { severity: 'warning', detail: expect.stringContaining(`GRANT DELETE ON "public"."outbox" TO "${role}";`) },
    ])
    await client.query(`GRANT DELETE ON outbox TO ${role}; CREATE TABLE parted (LIKE outbox) PARTITION BY RANGE (created_at);
      CREATE TABLE part PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2026-01-02');
      GRANT SELECT, DELETE ON parted TO ${role}`)
    expect(await found({ url: url.href, table: 'parted' })).toMatchObject([
      { severity: 'warning', remedy: expect.stringContaining(`TO "${role}";`) },
    ])
  } finally {
    await client.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
  }
})

test('every column that cannot serve is named, not only the first', async () => {
  await init()
  await client.query(`ALTER TABLE outbox RENAME COLUMN type TO kind`)
  await client.query(`ALTER TABLE outbox RENAME COLUMN payload TO body`)
  await client.query(`ALTER TABLE outbox ALTER headers DROP DEFAULT, ALTER headers TYPE integer USING 0`)
  const ofTable = problems(await runCheck(options)).filter((finding) => finding.name === 'table')
  expect(ofTable.map((finding) => finding.detail)).toEqual([
    expect.stringContaining('no column "type"'),
    expect.stringContaining('no column "payload"'),
    expect.stringContaining('column "headers" of table public.outbox is of type int4'),
  ])
})

test('a row filter of the publication is a warning', async () => {
  await init()
  const { rows } = await client.query(`SELECT current_setting('server_version_num')::int AS version`)
  if (rows[0].version < 150_000) return // row filters came with PostgreSQL 15
  await client.query(`ALTER PUBLICATION outbox_events SET TABLE outbox WHERE (aggregate_type = 'order')`)
  const findings = await runCheck(options)
  expect(problems(findings)).toEqual([])
  expect(findings).toContainEqual(
    expect.objectContaining({ name: 'row filter', severity: 'warning', detail: expect.stringContaining("'order'") }),
  )
})

test('a column list that hides a mapped column is a problem', async () => {
  await init()
  const { rows } = await client.query(`SELECT current_setting('server_version_num')::int AS version`)
  if (rows[0].version < 150_000) return // column lists came with PostgreSQL 15
  await client.query('ALTER PUBLICATION outbox_events SET TABLE outbox (id, payload)')
  expect(problems(await runCheck(options))).toEqual([
    expect.objectContaining({ name: 'publication', detail: expect.stringContaining('leaves out the columns') }),
  ])
})

test('a server that cannot be reached is one problem, without the password', async () => {
  const url = 'postgres://postgres:hunter2@127.0.0.1:1/postgres'
  const findings = await runCheck({ ...options, url })
  expect(findings).toEqual([expect.objectContaining({ name: 'postgresql', ok: false, severity: 'problem' })])
  expect(JSON.stringify(findings)).not.toContain('hunter2')
})

/** A role with the grants of sql/roles.sql, and the options of a check as this role. */
async function withBridgeRole(work: (role: string, asRole: CheckOptions) => Promise<void>): Promise<void> {
  const role = uniqueName('bridge')
  const sql = await readFile(new URL('../../sql/roles.sql', import.meta.url), 'utf8')
  await client.query(sql.replaceAll(/(ROLE|TO) wal2rabbit/g, `$1 ${role}`))
  const url = new URL(database.url)
  url.username = role
  try {
    await work(role, { ...options, url: url.href })
  } finally {
    await client.query(`DROP OWNED BY ${role}`)
    await client.query(`DROP ROLE ${role}`)
  }
}

/** The statements in remedies of missing grants. */
const statementsOf = (findings: readonly CheckFinding[]) =>
  findings
    .filter((finding) => finding.name === 'grant')
    .map((one) => one.remedy?.replace('Run as the owner: ', '') ?? '')

test('after an upgrade from version 1 check and a bridge name the grants that an old role lacks', async () => {
  await init()
  await withBridgeRole(async (role, asRole) => {
    await client.query(`REVOKE ALL ON wal2rabbit.parked_aggregate, wal2rabbit.dead_letter_audit FROM ${role}`)
    const run = { url: asRole.url, applicationName: 'test', statementTimeout: 5000 }
    const findings = await runCheck(asRole)
    const parked = `GRANT SELECT, INSERT, UPDATE, DELETE ON wal2rabbit.parked_aggregate TO "${role}";`
    const audit = `GRANT INSERT ON wal2rabbit.dead_letter_audit TO "${role}";`
    expect(findings.filter(({ name }) => name.startsWith('grant'))).toEqual([
      {
        name: 'grant',
        ok: false,
        severity: 'problem',
        detail: `role ${role} lacks SELECT, INSERT, UPDATE, DELETE on wal2rabbit.parked_aggregate`,
        remedy: `Run as the owner: ${parked}`,
      },
      {
        name: 'grant',
        ok: false,
        severity: 'warning', // the bridge does without
        detail: `role ${role} lacks INSERT on wal2rabbit.dead_letter_audit: dead-letters retry and discard are refused`,
        remedy: `Run as the owner: ${audit}`,
      },
    ])
    await expect(connectCheckpoint(run)).rejects.toMatchObject({
      code: 'SOURCE_PERMISSION_DENIED',
      action: 'halt-retry',
      message: expect.stringContaining(parked),
    })
    await client.query(parked)
    await (await connectCheckpoint(run)).close()
    await client.query(audit)
    expect(statementsOf(await runCheck(asRole))).toEqual([])
  })
})

test('each grant that run and the commands need is told when it is missing, and its statement mends it', async () => {
  await init()
  await withBridgeRole(async (role, asRole) => {
    const needed = [
      ['USAGE ON SCHEMA wal2rabbit', 'problem'],
      ['USAGE ON SCHEMA public', 'problem'],
      ['SELECT ON wal2rabbit.schema_migration', 'problem'],
      ...['SELECT', 'UPDATE'].map((right) => [`${right} ON wal2rabbit.checkpoint`, 'problem']),
      ...['SELECT', 'INSERT', 'DELETE'].map((right) => [`${right} ON wal2rabbit.checkpoint_history`, 'problem']),
      ...['SELECT', 'INSERT', 'UPDATE'].map((right) => [`${right} ON wal2rabbit.dead_letter`, 'problem']),
      ['DELETE ON wal2rabbit.dead_letter', 'warning'],
      ...['SELECT', 'INSERT', 'UPDATE', 'DELETE'].map((right) => [
        `${right} ON wal2rabbit.parked_aggregate`,
        'problem',
      ]),
      ['INSERT ON wal2rabbit.dead_letter_audit', 'warning'],
    ]
    await client.query('REVOKE USAGE ON SCHEMA public FROM PUBLIC')
    for (const [grant = '', severity] of needed) {
      await client.query(`REVOKE ${grant} FROM ${role}`)
      const found = (await runCheck(asRole)).filter(({ name }) => name === 'grant')
      const quoted = grant.replace(/SCHEMA (\w+)/, 'SCHEMA "$1"')
      expect([statementsOf(found), found[0]?.severity], grant).toEqual([[`GRANT ${quoted} TO "${role}";`], severity])
      await client.query(statementsOf(found).join(' '))
    }
    expect(statementsOf(await runCheck(asRole))).toEqual([])
  })
})

test('the role of sql/roles.sql may do all that a running bridge does, and owns nothing', async () => {
  await init()
  await withBridgeRole(async (_role, asRole) => {
    const { url, slot } = asRole
    expect(problems(await runCheck(asRole))).toEqual([])
    expect((await readStoredStatus({ url, slot })).positions.stored).toMatch(/^[0-9A-F]+\//)
    const bridge = await connectControl({ url, applicationName: 'test', statementTimeout: 5000 })
    try {
      await bridge.query(`UPDATE wal2rabbit.checkpoint SET version = version + 1`)
      await bridge.query(`INSERT INTO wal2rabbit.dead_letter (slot, commit_lsn, ordinal, reason_code, reason_text)
        VALUES ('s', '0/1', 0, 'EVENT_INVALID', 'x')`)
      await bridge.query(`INSERT INTO wal2rabbit.parked_aggregate VALUES ('s', 'k', 'order', '1', 'e')`)
      await bridge.query(`SELECT FROM wal2rabbit.parked_aggregate FOR UPDATE`)
      await bridge.query(`DELETE FROM wal2rabbit.parked_aggregate`)
      await removeDeadLetters(bridge, ['1'], 'discarded', 'test@host')
      await expect(bridge.query('DELETE FROM wal2rabbit.dead_letter_audit')).rejects.toMatchObject({ code: '42501' })
      await bridge.query(`DELETE FROM wal2rabbit.checkpoint_history`)
      await bridge.query(`SELECT pg_copy_logical_replication_slot($1, 'copy_of_check', true)`, [slot])
      await bridge.query(`SELECT count(*) FROM outbox`)
      await expect(bridge.query('DELETE FROM outbox')).rejects.toMatchObject({ code: '42501' })
    } finally {
      await endControl(bridge)
    }
    // Its own init finds all in place and needs no more rights than that.
    const steps = await runInit({ ...asRole, dryRun: false, acceptGap: false, broker: undefined })
    expect(new Set(steps.map((step) => step.outcome))).toEqual(new Set(['kept']))
  })
})

test('a role without REPLICATION is told which grant it lacks', async () => {
  await init()
  const role = uniqueName('plain')
  await client.query(`CREATE ROLE ${role} LOGIN`)
  const url = new URL(database.url)
  url.username = role
  try {
    const findings = await runCheck({ ...options, url: url.href })
    expect(new Set(problems(findings).map((finding) => finding.name))).toEqual(
      new Set(['replication connection', 'grant', 'schema', 'slot']),
    )
    const ofRole = findings.find((finding) => finding.name === 'role')
    expect(ofRole).toMatchObject({ ok: false, remedy: expect.stringContaining(`ALTER ROLE "${role}" REPLICATION`) })
  } finally {
    await client.query(`DROP ROLE ${role}`)
  }
})

test('the stored status and the history are read without a bridge', async () => {
  await expect(readStoredStatus(options)).rejects.toMatchObject({ code: 'SCHEMA_MISSING' })
  await init()
  const status = await readStoredStatus(options)
  expect(status).toMatchObject({
    slot: { name: options.slot, plugin: 'pgoutput', active: false },
    positions: { stored: status.positions.acknowledged },
    checkpoint: { events: 0, epoch: 0, owner: '' },
  })
  expect(status.lag.bytesToStored).toBeGreaterThanOrEqual(0)
  expect(await readStoredStatus({ ...options, slot: 'nobody' })).toMatchObject({
    slot: { plugin: null },
    positions: { stored: null },
  })
})
