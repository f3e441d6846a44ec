import { expect, test } from 'vitest'
import { FloorGuard, NeededAgain } from '../../src/retention/floor-guard.ts'

function setUp() {
  const calls: string[] = []
  const world = { now: 0, who: undefined as string | undefined }
  const guard = new FloorGuard({
    raise: async () => void calls.push('raise'),
    look: async () => {
      calls.push('look')
      return world.who
    },
    now: () => world.now,
  })
  return { calls, world, guard }
}

test('the floor is raised once, before the first look, and while rows go one look a second follows', async () => {
  const { calls, world, guard } = setUp()
  expect(guard.isRaised).toBe(false)
  for (const now of [0, 500, 999, 1000, 1500, 2100]) {
    world.now = now
    await guard.beforeRows()
  }
  expect(calls).toEqual(['raise', 'look', 'look', 'look'])
  expect(guard.isRaised).toBe(true)
})

test('there is a look before each partition', async () => {
  const { calls, guard } = setUp()
  for (let n = 0; n < 2; n++) {
    await guard.beforeFirst()
    await guard.beforePartition()
  }
  await guard.beforeRows()
  expect(calls).toEqual(['raise', 'look', 'look', 'look'])
})

test.each([
  ['rows', (guard: FloorGuard) => guard.beforeRows()],
  ['a partition', (guard: FloorGuard) => guard.beforePartition()],
])('who comes to need them meanwhile keeps %s', async (_, before) => {
  const { world, guard } = setUp()
  await guard.beforeFirst()
  world.now = 1000
  world.who = 'replay 4f1c'
  const refused = before(guard)
  await expect(refused).rejects.toThrow(NeededAgain)
  await expect(refused).rejects.toThrow('replay 4f1c began to need rows that were about to go')
})

test('who needs them at the first look keeps them, and the floor counts as raised', async () => {
  const { calls, world, guard } = setUp()
  world.who = 'slot b'
  await expect(guard.beforeRows()).rejects.toThrow(NeededAgain)
  expect([calls, guard.isRaised]).toEqual([['raise', 'look'], true])
})
