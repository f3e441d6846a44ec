import { formatLsn } from '../../src/base/lsn.ts'
import type { ConfirmWindow, WindowRowInput } from '../../src/sink/confirm-window.ts'
import type { OutboundMessage, RefusedContent, RowOrigin } from '../../src/sink/sink.ts'

export interface RowWish extends Partial<Omit<WindowRowInput, 'message'>> {
  readonly commitLsn: bigint
  readonly ordinal: number
  readonly message?: Partial<OutboundMessage> | undefined
  readonly body?: string
}

/** A row of the window with a message as routing would make it. */
export function windowRow(wish: RowWish): WindowRowInput {
  const { commitLsn, ordinal, body = `${formatLsn(commitLsn)}#${ordinal}` } = wish
  const eventId = wish.eventId ?? `event-${commitLsn}-${ordinal}`
  return {
    commitLsn,
    ordinal,
    committedAtSeconds: wish.committedAtSeconds ?? 1_700_000_000,
    eventId,
    aggregateType: wish.aggregateType ?? null,
    aggregateId: wish.aggregateId ?? null,
    type: wish.type ?? 'created',
    message: wish.refusal === undefined ? message(wish, eventId, body) : undefined,
    refusal: wish.refusal,
    refused: wish.refusal === undefined ? undefined : (wish.refused ?? refusedContent(body)),
    origin: wish.origin ?? noColumns,
    unroutable: wish.unroutable ?? 'dead-letter',
  }
}

const noColumns: RowOrigin = {
  relation: { columns: [] },
  tuple: { text: () => null, bytes: () => null, byteLength: () => 0, size: 0 },
  transaction: { committedAt: '2026-01-31T23:59:59.123456Z' },
}

function refusedContent(body: string): RefusedContent {
  return {
    exchange: null,
    routingKey: null,
    contentType: 'application/json',
    body: Buffer.from(body),
    headersText: null,
  }
}

function message({ commitLsn, ordinal, message: wanted }: RowWish, eventId: string, body: string): OutboundMessage {
  return {
    exchange: 'outbox',
    routingKey: 'order.created',
    body: Buffer.from(body),
    properties: {
      messageId: eventId,
      type: 'created',
      contentType: 'application/json',
      timestamp: 1_700_000_000,
      appId: 'wal2rabbit',
      persistent: true,
      mandatory: true,
      headers: { 'wal-lsn': formatLsn(commitLsn), 'wal-ordinal': ordinal },
    },
    ...wanted,
  }
}

/** One transaction: its rows and its commit mark, whose end LSN is the commit LSN plus 8. Returns that end LSN. */
export function pushTransaction(
  window: ConfirmWindow,
  commitLsn: bigint,
  rows: number,
  wish: (ordinal: number) => Omit<RowWish, 'commitLsn' | 'ordinal'> = () => ({}),
): bigint {
  for (let ordinal = 0; ordinal < rows; ordinal++) window.pushRow(windowRow({ ...wish(ordinal), commitLsn, ordinal }))
  window.pushCommit(commitLsn, commitLsn + 8n)
  return commitLsn + 8n
}
