import { expect, test } from 'vitest'
import { ensureWal2json, hasWal2json } from './services.ts'

test('wal2json is usable after it was ensured, or the reason says why it is not', async () => {
  const { available, reason } = await ensureWal2json()
  expect(await hasWal2json()).toBe(available)
  expect(reason).toMatch(available ? /^wal2json is usable$/ : /wal2json/)
})
