import { PgoutputDecoder } from '../../src/source/pgoutput.ts'
import { captured } from './captured.ts'
import type { FuzzTarget } from './fuzz-target.ts'
import { mutate } from './mutation.ts'
import type { Said } from './session-model.ts'
import { runStreamCase, type StreamLanguage, type Transaction } from './stream-case.ts'

export const pgoutput: StreamLanguage = {
  decoder: () => new PgoutputDecoder({ publication: 'wal2rabbit', table: { schema: 'public', name: 'outbox' } }),
  transaction,
  said,
  mutate,
  // Update, delete, truncate, type, origin, logical message.
  isHarmless: (payload) => 'UDTYOM'.includes(String.fromCharCode(payload[0] ?? 0)),
}

export const pgoutputTarget: FuzzTarget = {
  name: 'pgoutput',
  about: 'messages of the output plugin pgoutput, through decoder, assembler, routing and window',
  weight: 40,
  start: () => ({ runCase: (random, log) => runStreamCase(pgoutput, random, log) }),
}

function transaction(commitLsn: bigint, eventIds: readonly string[]): Transaction {
  const endLsn = commitLsn + 48n
  const begin = Buffer.from(captured.begin)
  begin.writeBigUInt64BE(commitLsn, 1)
  const commit = Buffer.from(captured.commit)
  commit.writeBigUInt64BE(commitLsn, 2)
  commit.writeBigUInt64BE(endLsn, 10)
  const rows = eventIds.map((id, index) => {
    const row = Buffer.from(captured.rows[index % 2]!)
    row.write(id, 13, 'latin1')
    return row
  })
  const { outbox, other, otherRow, deleted, truncated } = captured
  const messages = [begin, outbox, ...rows, other, otherRow, deleted, truncated, commit]
  return { commitLsn, endLsn, messages, eventIds }
}

/** Called for messages that may be cut short: those the decoder must refuse. */
function said(payload: Buffer): Said {
  if (payload[0] === 0x42 && payload.length >= 9) return { kind: 'begin', lsn: payload.readBigUInt64BE(1) }
  if (payload[0] === 0x43 && payload.length >= 18) return { kind: 'commit', lsn: payload.readBigUInt64BE(10) }
  return { kind: payload[0] === 0x49 ? 'row' : 'other' }
}
