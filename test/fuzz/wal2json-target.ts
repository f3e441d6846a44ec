import { Wal2jsonDecoder } from '../../src/source/wal2json.ts'
import { capturedJson } from './captured.ts'
import type { FuzzTarget } from './fuzz-target.ts'
import { mutate, mutateText } from './mutation.ts'
import type { Said } from './session-model.ts'
import { runStreamCase, type StreamLanguage, type Transaction } from './stream-case.ts'

const wal2json: StreamLanguage = {
  decoder: () => new Wal2jsonDecoder({ table: { schema: 'public', name: 'outbox' } }),
  transaction,
  said,
  mutate: (random, line, others) =>
    random.chance(0.3) ? mutate(random, line, others) : Buffer.from(mutateText(random, line.toString())),
  isHarmless: (payload) => /^[UDTM]$/.test(actionOf(payload)),
}

export const wal2jsonTarget: FuzzTarget = {
  name: 'wal2json',
  about: 'lines of the output plugin wal2json, through decoder, assembler, routing and window',
  weight: 15,
  start: () => ({ runCase: (random, log) => runStreamCase(wal2json, random, log) }),
}

function transaction(commitLsn: bigint, eventIds: readonly string[]): Transaction {
  const endLsn = commitLsn + 48n
  const lsns = { lsn: lsnText(commitLsn), nextlsn: lsnText(endLsn) }
  const begin = { ...JSON.parse(capturedJson.begin), ...lsns }
  const commit = { ...JSON.parse(capturedJson.commit), ...lsns }
  const rows = eventIds.map((id) => capturedJson.row.replace('7af98b55-8e47-48ad-b1b1-ba33c8a5dc9b', id))
  const other = capturedJson.row.replace('"table":"outbox"', '"table":"other"')
  const lines = [JSON.stringify(begin), ...rows, other, '{"action":"T"}', JSON.stringify(commit)]
  return { commitLsn, endLsn, messages: lines.map((line) => Buffer.from(line)), eventIds }
}

function said(payload: Buffer): Said {
  const action = actionOf(payload)
  if (action !== 'B' && action !== 'C') return { kind: action === 'I' ? 'row' : 'other' }
  const { lsn, nextlsn } = JSON.parse(payload.toString())
  return action === 'B' ? { kind: 'begin', lsn: readLsn(lsn) } : { kind: 'commit', lsn: readLsn(nextlsn) }
}

function actionOf(payload: Buffer): string {
  try {
    return String(JSON.parse(payload.toString())?.action)
  } catch {
    return '' // the decoder has to refuse it
  }
}

function lsnText(lsn: bigint): string {
  return `${(lsn >> 32n).toString(16)}/${(lsn & 0xffffffffn).toString(16)}`
}

/** 0 for what is none: nothing can be below. */
function readLsn(text: unknown): bigint {
  const match = /^([0-9a-f]+)\/([0-9a-f]+)$/i.exec(String(text))
  return match === null ? 0n : BigInt(`0x${match[1]}`) * 2n ** 32n + BigInt(`0x${match[2]}`)
}
