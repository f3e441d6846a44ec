import { afterEach, expect, test, vi } from 'vitest'
import type { Anchor } from '../../src/replay/anchor.ts'
import { AnchorKeeper, type AnchorServer } from '../../src/replay/anchor-keeper.ts'
import { anchorTime } from '../../src/replay/anchor-name.ts'

const slot = 'shop'
const bytes = 1_000_000_000

/** A server in memory: `fail` makes operations reject, `hang` keeps them from being answered. */
class FakeServer {
  anchors: Anchor[] = []
  walEnd = 10_000_000_000n
  looks = 0
  connects = 0
  closed = 0
  readonly calls: string[] = []
  fail: Partial<Record<'connect' | 'look' | 'create' | 'drop', unknown>> = {}
  hang: 'look' | 'create' | undefined
  inUse = true
  dropped: () => void = () => {}

  async connect(): Promise<AnchorServer> {
    this.connects++
    this.#failIf('connect')
    let cut: (error: Error) => void = () => {}
    const lost = new Promise<never>((_, reject) => {
      cut = reject
    })
    lost.catch(() => undefined)
    return {
      look: async () => {
        this.looks++
        this.#failIf('look')
        if (this.hang === 'look') await lost
        const at = { confirmedFlushLsn: this.walEnd, restartLsn: this.walEnd, invalidation: undefined }
        const live = { ...at, active: this.inUse }
        return { now: new Date(), walEnd: this.walEnd, live, anchors: this.anchors }
      },
      create: async (name) => {
        this.calls.push(`create ${name}`)
        this.#failIf('create')
        if (this.hang === 'create') await lost
        const at = { confirmedFlushLsn: this.walEnd, restartLsn: this.walEnd, invalidation: undefined, active: false }
        this.anchors = [...this.anchors, { ...at, name, madeAt: anchorTime(slot, name)! }]
        return this.walEnd
      },
      drop: async (name) => {
        this.calls.push(`drop ${name}`)
        this.#failIf('drop')
        const before = this.anchors.length
        this.anchors = this.anchors.filter((one) => one.name !== name)
        this.dropped()
        return this.anchors.length < before
      },
      refresh: async () => {
        this.calls.push('refresh')
      },
      close: async () => {
        this.closed++
        cut(new Error('Connection terminated'))
      },
    }
  }

  #failIf(operation: 'connect' | 'look' | 'create' | 'drop'): void {
    if (this.fail[operation] !== undefined) throw this.fail[operation]
  }
}

function sqlError(code: string, message: string): Error {
  return Object.assign(new Error(message), { code })
}

let keeper: AnchorKeeper

afterEach(async () => {
  await keeper.close()
  vi.useRealTimers()
})

function start(changes: { readonly window?: { readonly time: number; readonly bytes: number } } = {}) {
  vi.useFakeTimers({ now: Date.parse('2026-01-31T12:00:00Z') })
  const server = new FakeServer()
  const lines: string[] = []
  const log = {
    info: (fields: object, text: string) => lines.push(`${text} ${JSON.stringify(fields)}`),
    warn: (fields: object, text: string) => lines.push(`warning: ${text} ${JSON.stringify(fields)}`),
  }
  keeper = new AnchorKeeper({
    slot,
    window: { time: 3_600_000, bytes },
    connect: () => server.connect(),
    log: log as unknown as ConstructorParameters<typeof AnchorKeeper>[0]['log'],
    ...changes,
  })
  const said = (text: string) => lines.filter((line) => line.includes(text))
  return { server, lines, said }
}

const pass = (milliseconds: number) => vi.advanceTimersByTimeAsync(milliseconds)

test('nothing is asked before the slot is ours; then the first tick comes at once, and about one a second', async () => {
  const { server, said } = start()
  await pass(5000)
  expect([server.connects, keeper.sight]).toEqual([0, undefined])
  keeper.begin()
  await pass(0)
  expect(server.anchors.map(({ name }) => name)).toEqual(['shop_anchor_20260131120005'])
  expect(keeper.sight).toMatchObject({ anchors: [{ name: 'shop_anchor_20260131120005' }], degraded: null })
  expect(said('anchor slot made')).toHaveLength(1)
  const before = server.looks
  await pass(10_000)
  expect(server.looks - before).toBeGreaterThanOrEqual(9)
  expect(server.looks - before).toBeLessThanOrEqual(13)
  expect(server.anchors).toHaveLength(1)
})

test('when the slot is no longer ours nothing is done or known any more, and the connection is given up', async () => {
  const { server } = start()
  keeper.begin()
  await pass(2000)
  keeper.end()
  await pass(0)
  const before = server.looks
  await pass(60_000)
  expect([server.looks, server.closed, keeper.sight]).toEqual([before, 1, undefined])
  keeper.begin()
  await pass(1500)
  expect(server.looks).toBeGreaterThan(before)
  expect(server.anchors).toHaveLength(1)
})

test('while the slot is let go of for a broker that takes nothing, nothing is made and the bound holds', async () => {
  const { server, said } = start()
  keeper.begin()
  await pass(1000)
  const [anchor] = server.anchors
  server.inUse = false
  keeper.watch()
  // The live slot stands, and so does the only anchor that reaches back to it.
  for (let n = 0; n < 30; n++) {
    server.walEnd += BigInt(bytes) / 20n
    await pass(1000)
  }
  expect(server.anchors).toEqual([anchor])
  expect(keeper.sight).toMatchObject({ retainedBytes: (BigInt(bytes) * 3n) / 2n })
  server.inUse = true
  server.walEnd += BigInt(bytes)
  await pass(2000)
  expect(server.anchors, 'another bridge has the slot, and sees to it').toEqual([anchor])
  server.inUse = false
  await pass(2000)
  expect([server.anchors, said('anchor slot dropped')]).toHaveProperty('0', [])
  expect(said('anchor slot dropped')).toEqual([expect.stringContaining('"because":"bound"')])
  keeper.begin()
  await pass(2000)
  expect(server.anchors).toHaveLength(1)
})

test('a process that does not hold the slot does not begin to watch', async () => {
  const { server } = start()
  keeper.watch()
  await pass(5000)
  expect(server.connects).toBe(0)
})

test('an end between two actions keeps the rest from being done', async () => {
  const { server } = start({ window: { time: 0, bytes: 0 } })
  const made = { confirmedFlushLsn: 1n, restartLsn: 1n, invalidation: undefined, active: false }
  server.anchors = ['shop_anchor_20260131110000', 'shop_anchor_20260131113000'].map((name) => ({
    ...made,
    name,
    madeAt: anchorTime(slot, name)!,
  }))
  server.dropped = () => keeper.end()
  keeper.begin()
  await pass(5000)
  expect(server.calls).toEqual(['drop shop_anchor_20260131110000'])
})

test('anchors rotate as WAL grows, and one line tells of each', async () => {
  const { server, said } = start()
  keeper.begin()
  for (let tick = 0; tick < 400; tick++) {
    server.walEnd += BigInt(bytes / 50)
    await pass(1000)
    expect(keeper.sight!.retainedBytes).toBeLessThanOrEqual(2 * bytes)
  }
  expect(keeper.sight!.bytes).toBeGreaterThanOrEqual(bytes)
  expect(said('anchor slot made').length).toBe(server.calls.filter((call) => call.startsWith('create')).length)
  expect(said('"because":"covered"').length).toBe(server.calls.filter((call) => call.startsWith('drop')).length)
  expect(said('degraded')).toEqual([])
})

test('without a free slot the window is degraded, said once, and tried again after the back-off only', async () => {
  const { server, said } = start()
  server.fail.create = sqlError('53400', 'all replication slots are in use')
  keeper.begin()
  await pass(29_000)
  expect(server.calls).toHaveLength(1)
  expect(keeper.sight!.degraded).toMatch(/cannot be made: all replication slots are in use \(SQLSTATE 53400\)/)
  await pass(2500)
  expect(server.calls).toHaveLength(2)
  expect(said('degraded')).toHaveLength(1)
  server.fail = {}
  await pass(31_000)
  expect(keeper.sight).toMatchObject({ anchors: [expect.anything()], degraded: null })
  expect(said('in order again')).toHaveLength(1)
  expect(server.connects).toBe(1)
})

test('what another bridge did first is harmless: a name that is taken, a slot that is gone or in use', async () => {
  const { server, lines } = start()
  server.fail.create = sqlError('42710', 'replication slot already exists')
  keeper.begin()
  await pass(3000)
  expect([lines, keeper.sight!.degraded]).toEqual([[], null])
  server.fail = {}
  await pass(2000)
  expect(server.anchors).toHaveLength(1)
  const [{ name }] = server.anchors as [Anchor]
  server.anchors = [{ ...server.anchors[0]!, invalidation: 'wal_removed' }]
  server.fail.drop = sqlError('55006', 'replication slot is active')
  await pass(3000)
  expect(server.calls.filter((call) => call === `drop ${name}`).length).toBeGreaterThan(1)
  server.fail = {}
  await pass(2000)
  expect(server.anchors).toEqual([expect.not.objectContaining({ name })])
})

test('an anchor that somebody dropped is told once, and made anew', async () => {
  const { server, said } = start()
  keeper.begin()
  await pass(2000)
  server.anchors = []
  await pass(3000)
  expect(said('dropped by somebody else')).toHaveLength(1)
  expect(server.anchors).toHaveLength(1)
  expect(keeper.sight!.degraded).toMatch(/somebody else dropped shop_anchor_20260131120000/)
  for (let tick = 0; tick < 60; tick++) {
    server.walEnd += BigInt(bytes / 50)
    await pass(1000)
  }
  expect(keeper.sight!.degraded).toBeNull()
})

test('a server that cannot be looked at makes the window unknown, is said once, and is connected to anew', async () => {
  const { server, said } = start()
  keeper.begin()
  await pass(2000)
  server.fail.look = new Error('Connection terminated unexpectedly')
  await pass(10_000)
  expect(keeper.sight).toBeUndefined()
  expect(said('cannot be looked at: Connection terminated unexpectedly')).toHaveLength(1)
  server.fail = { connect: new Error('too many clients') }
  await pass(5000)
  server.fail = {}
  await pass(2000)
  expect(keeper.sight).toMatchObject({ degraded: null })
  expect(said('dropped by somebody else')).toEqual([])
})

test('a creation that is never answered holds up neither the end of the session nor that of the process', async () => {
  const { server } = start()
  server.hang = 'create'
  keeper.begin()
  await pass(10_000)
  expect(server.calls).toHaveLength(1)
  keeper.end()
  let closed = false
  const closing = keeper.close().then(() => {
    closed = true
  })
  await pass(0)
  expect(closed).toBe(true)
  await closing
})

test('0 removes all anchors, and looks again rarely', async () => {
  const { server, lines } = start({ window: { time: 0, bytes: 0 } })
  const name = 'shop_anchor_20260131110000'
  const at = { confirmedFlushLsn: 1n, restartLsn: 1n, invalidation: undefined, active: false }
  server.anchors = [{ ...at, name, madeAt: anchorTime(slot, name)! }]
  keeper.begin()
  await pass(2000)
  expect([server.anchors, server.calls]).toEqual([[], [`drop ${name}`]])
  const before = server.looks
  await pass(60_000)
  expect(server.looks - before).toBeLessThanOrEqual(3)
  expect(lines).toHaveLength(1)
  expect(keeper.sight).toMatchObject({ anchors: [], retainedBytes: 0n, degraded: null })
})
