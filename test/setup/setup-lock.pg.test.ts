import type pg from 'pg'
import { beforeEach, expect, onTestFinished, test } from 'vitest'
import { connectControl, endControl } from '../../src/setup/connect.ts'
import { type InitOptions, runInit } from '../../src/setup/init.ts'
import type { InitStep } from '../../src/setup/init-step.ts'
import { runRewind } from '../../src/setup/rewind.ts'
import { takeSlotLock, withSharedLock } from '../../src/setup/setup-lock.ts'
import { type FreshDatabase, freshDatabase, uniqueName } from '../support/services.ts'

/** Something that one part of a test waits for, and another brings about. */
class Signal {
  give!: () => void
  readonly given = new Promise<void>((resolve) => {
    this.give = resolve
  })
}

let database: FreshDatabase

beforeEach(async () => {
  database = await freshDatabase()
  onTestFinished(() => database.drop())
})

async function connect(applicationName = 'test'): Promise<pg.Client> {
  const client = await connectControl({ url: database.url, applicationName, statementTimeout: 20_000 })
  onTestFinished(() => endControl(client))
  return client
}

function init(slot: string, changes: Partial<InitOptions> = {}): Promise<InitStep[]> {
  const names = { url: database.url, slot, publication: slot, table: 'public.outbox' }
  const usual = { plugin: 'pgoutput', columns: 'default', broker: undefined, dryRun: false, acceptGap: false } as const
  return runInit({ ...names, ...usual, ...changes })
}

// One lock for the whole database made every other bridge wait for hours, without a word.
test('while a backfill is at work, another bridge is prepared and rewound', async () => {
  const [busy, other] = [uniqueName('busy'), uniqueName('other')]
  const [backfill, begun] = [new Signal(), new Signal()]
  const publish = async () => {
    begun.give()
    await backfill.given
    return undefined
  }
  const long = init(busy, { backfill: publish })
  await begun.given
  expect((await init(other)).map(({ outcome, name }) => `${outcome} ${name}`)).toContain(`created slot ${other}`)
  const rewind = { url: database.url, slot: other, plugin: 'pgoutput', startedBy: 'ann@shop1', apply: true } as const
  await expect(runRewind({ ...rewind, request: { kind: 'resume' } })).resolves.toEqual({ kind: 'nothing' })
  backfill.give()
  expect((await long).at(-1)?.outcome).toBe('stopped')
})

test('who has to wait is told for whom, once, and goes on when that ends', async () => {
  const [holder, waiting] = [await connect('wal2rabbit init'), await connect()]
  const said: string[] = []
  const told = new Signal()
  const notice = (text: string) => {
    said.push(text)
    told.give()
  }
  await takeSlotLock(holder, 'shop', { notice })
  await takeSlotLock(waiting, 'shop_2', { notice, noticeAfter: 0 })
  const taken = takeSlotLock(waiting, 'shop', { notice, noticeAfter: 0 })
  await told.given
  const { rows } = await holder.query('SELECT pg_backend_pid() AS pid')
  await endControl(holder)
  await taken
  expect(said).toEqual([`waits for "wal2rabbit init" (server pid ${rows[0].pid}), which is at work on slot shop`])
})

test('what bridges share is worked on by one at a time, and is free again afterwards', async () => {
  const [first, second] = [await connect(), await connect()]
  const order: string[] = []
  const told = new Signal()
  const silent = { notice: () => undefined }
  let later: Promise<void> | undefined
  await withSharedLock(first, silent, async () => {
    later = withSharedLock(second, { notice: () => told.give(), noticeAfter: 0 }, async () => {
      order.push('second')
    })
    await told.given
    order.push('first')
  })
  await later
  await withSharedLock(first, silent, async () => undefined)
  expect(order).toEqual(['first', 'second'])
})
