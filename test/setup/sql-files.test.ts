import { readdir, readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { loadMigrations, outboxTableSql } from '../../src/setup/sql-files.ts'

const sqlFolder = new URL('../../sql/', import.meta.url)

test('the numbered files run from 1 without a hole', async () => {
  const migrations = await loadMigrations()
  expect(migrations.map((migration) => migration.version)).toEqual(migrations.map((_, index) => index + 1))
})

test('released files are never edited: their checksums stay', async () => {
  const checksums = Object.fromEntries((await loadMigrations()).map(({ name, checksum }) => [name, checksum]))
  expect(checksums).toMatchInlineSnapshot(`
    {
      "001_bookkeeping.sql": "867da58647aeed1f2a9c7a75495a2ef6eff039357c73ec92a51eca0dbd71c65c",
      "002_dead_letters.sql": "46afd9403f1aa49f4522d0d973a6eae3e5ab198a0af2916ac43a22b785603499",
      "003_replay.sql": "ab9fc6e8c554649071d0f63c73e0899473a156a959da3acdbbff0c868ede3712",
    }
  `)
})

test('the outbox of another name differs from sql/outbox.sql in nothing but the name', async () => {
  const own = await outboxTableSql({ schema: 'Sales "EU"', name: 'out.box' })
  expect(own).toMatch(/^CREATE TABLE "Sales ""EU"""\."out\.box" \(/)
  expect(own).not.toContain('public')
  const file = await readFile(new URL('outbox.sql', sqlFolder), 'utf8')
  expect(file).toContain(own.replace('"Sales ""EU"""."out.box"', 'public.outbox'))
})

test('a name with replacement patterns is taken literally', async () => {
  expect(await outboxTableSql({ schema: 's', name: "$&$'" })).toContain(`"s"."$&$'"`)
})

test('the partitioned outbox has the same columns as the plain one', async () => {
  const columns = async (file: string) =>
    (await readFile(new URL(file, sqlFolder), 'utf8')).match(/^ {2}[a-z_]+ {2,}\S.*$/gm)!.map((line) =>
      line
        .replace(/PRIMARY KEY|NOT NULL|,$/g, '')
        .split(/\s+/)
        .filter(Boolean)
        .join(' '),
    )
  expect(await columns('outbox-partitioned.sql')).toEqual(await columns('outbox.sql'))
})

test('every file of sql is known', async () => {
  expect((await readdir(sqlFolder)).sort()).toEqual([
    '001_bookkeeping.sql',
    '002_dead_letters.sql',
    '003_replay.sql',
    'outbox-partitioned.sql',
    'outbox.sql',
    'roles.sql',
  ])
})
