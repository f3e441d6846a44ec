import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { quoteLiteral, quoteTable, type TableName } from '../base/sql.ts'

/** The sql folder beside src and, once built, beside dist. */
const sqlFolder = new URL('../../sql/', import.meta.url)

/** A numbered file of sql/: immutable once released. */
export interface Migration {
  readonly version: number
  /** File name, `001_bookkeeping.sql`. */
  readonly name: string
  readonly sql: string
  /** SHA-256 of the text with LF line ends, so that a checkout with CRLF is the same file. */
  readonly checksum: string
}

/** The numbered files in order. `folder` is for tests. */
export async function loadMigrations(folder: URL = sqlFolder): Promise<Migration[]> {
  const names = (await readdir(folder)).filter((name) => /^\d{3}_.*\.sql$/.test(name)).sort()
  return Promise.all(
    names.map(async (name) => {
      const sql = await readSql(name, folder)
      const checksum = createHash('sha256').update(sql).digest('hex')
      return { version: Number(name.slice(0, 3)), name, sql, checksum }
    }),
  )
}

/** A numbered file as a script for psql: in one transaction, and on record, so that `init` finds it applied. */
export function migrationScript({ version, name, sql, checksum }: Migration): string {
  const values = `${version}, ${quoteLiteral(name)}, ${quoteLiteral(checksum)}`
  const record = `INSERT INTO wal2rabbit.schema_migration (version, name, checksum) VALUES (${values});`
  return `BEGIN;\n${sql.trim()}\n\n${record}\nCOMMIT;\n`
}

/** The DDL of sql/outbox.sql for `table`: that file is the single source, written for `public.outbox`. */
export async function outboxTableSql(table: TableName): Promise<string> {
  const sql = await readSql('outbox.sql', sqlFolder)
  const statement = sql.slice(sql.indexOf('CREATE TABLE'))
  return statement.replaceAll('public.outbox', () => quoteTable(table)).trim()
}

async function readSql(name: string, folder: URL): Promise<string> {
  return (await readFile(new URL(name, folder), 'utf8')).replaceAll('\r\n', '\n')
}
