import { setImmediate } from 'node:timers/promises'
import { type BridgeError, toBridgeError } from '../../src/base/errors.ts'
import { PostgresSource } from '../../src/source/postgres-source.ts'
import { message, ScriptedPostgres } from '../source/scripted-postgres.ts'
import type { SeededRandom } from '../support/seeded-random.ts'
import { type CaseLog, type FuzzTarget, mustHold } from './fuzz-target.ts'
import { mutate, noise, pick } from './mutation.ts'
import { pgoutput } from './pgoutput-target.ts'
import { emptyWindow, notAbove, type Said } from './session-model.ts'

/** What a CopyData frame may be refused as. */
const codes: readonly string[] = ['SOURCE_PROTOCOL', 'ASSERTION_FAILED']

export const framesTarget: FuzzTarget = {
  name: 'wal-frames',
  about: 'CopyData frames (XLogData, keep-alive), from a server over a socket through the source',
  weight: 2,
  start: () => ({ runCase: runFrameCase }),
}

/** One connection: good frames with bad ones between, one after the other, until one is refused. */
async function runFrameCase(random: SeededRandom, log: CaseLog): Promise<void> {
  const server = new ScriptedPostgres({})
  const connection = await server.listen()
  const window = emptyWindow()
  const source = new PostgresSource({
    connection,
    slot: 'wal2rabbit',
    plugin: 'pgoutput',
    publication: 'wal2rabbit',
    table: { schema: 'public', name: 'outbox' },
    isWalsenderAlive: async () => true,
  })
  let ended: BridgeError | undefined
  let unread = 0
  await source.start(window.settled, {
    onEvents: (events) => {
      for (const event of events) {
        // The rows themselves are looked at elsewhere.
        if (event.kind === 'commit' && window.received.partial === null)
          window.pushCommit(event.commitLsn, event.endLsn)
        else if (event.kind === 'idle') window.pushIdle(event.walEnd)
      }
    },
    onEnd: (error) => {
      ended = toBridgeError(error)
    },
  })
  source.resume()
  try {
    let allowed = 0n
    let isOpen = false
    for (const { frame, isBad } of framesOf(random)) {
      if (isBad) log.input(frame)
      const before = window.received.lsn
      unread = read()
      server.send(message('d', frame))
      while (ended === undefined && read() === unread) await setImmediate()
      if (ended === undefined) {
        const said = saidBy(frame)
        if (said.kind === 'begin' || said.kind === 'commit') isOpen = said.kind === 'begin'
        // Inside of a transaction a keep-alive says nothing of the position.
        if ((said.kind === 'commit' || (said.kind === 'idle' && !isOpen)) && said.lsn > allowed) allowed = said.lsn
      } else {
        mustHold(codes.includes(ended.code), () => `refused with ${ended?.code}: ${ended?.message}`)
        mustHold(window.received.lsn === before, 'a refused frame advanced what was received')
        if (isBad) log.refuse(ended.code)
        return
      }
      if (isBad) log.accept()
      const { settled, received } = window
      mustHold(notAbove(settled, received), 'settled is above received')
      mustHold(received.lsn <= allowed, () => `received ${received.lsn}, but no frame says more than ${allowed}`)
    }
  } finally {
    await source.stop()
    server.close()
  }

  /** Grows with each frame that is handled. */
  function read(): number {
    const { bytes, keepalives } = source.counters
    return bytes + keepalives
  }
}

function framesOf(random: SeededRandom): { frame: Buffer; isBad: boolean }[] {
  const lsn = BigInt(random.between(1, 2 ** 31))
  const good = [lsn, lsn + 64n].flatMap((commitLsn) => {
    const { messages, endLsn } = pgoutput.transaction(commitLsn, ['ae016f5b-fb13-47c8-bf6c-000000000000'])
    return [...messages.map((payload) => walData(commitLsn, payload)), keepalive(endLsn)]
  })
  return good.flatMap((frame) => {
    const bad = Array.from({ length: random.between(0, 2) }, () => ({ frame: badFrame(random, good), isBad: true }))
    return [...bad, { frame, isBad: false }]
  })
}

/** Mostly the heads: the payloads have a target of their own. */
function badFrame(random: SeededRandom, good: readonly Buffer[]): Buffer {
  const frame = pick(random, good)
  if (random.chance(0.1)) return Buffer.concat([Buffer.from(pick(random, ['w', 'k', ''])), noise(random, 40)])
  if (random.chance(0.3)) return mutate(random, frame, good)
  const head = frame[0] === 0x6b ? frame.length : 25
  return Buffer.concat([mutate(random, frame.subarray(0, head), []), frame.subarray(head)])
}

function walData(lsn: bigint, payload: Buffer): Buffer {
  const head = Buffer.alloc(25, 'w')
  head.writeBigUInt64BE(lsn, 1)
  head.writeBigUInt64BE(lsn, 9)
  return Buffer.concat([head, payload])
}

function keepalive(walEnd: bigint): Buffer {
  const frame = Buffer.alloc(18)
  frame.write('k')
  frame.writeBigUInt64BE(walEnd, 1)
  return frame
}

function saidBy(frame: Buffer): Said {
  return frame[0] === 0x6b ? { kind: 'idle', lsn: frame.readBigUInt64BE(1) } : pgoutput.said(frame.subarray(25))
}
