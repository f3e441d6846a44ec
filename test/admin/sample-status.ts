import type { Status } from '../../src/admin/status.ts'

/** A bridge in good health, with another number in every place. */
export function sampleStatus(changes: Partial<Status> = {}): Status {
  return {
    state: 'streaming',
    reason: null,
    since: '2026-01-31T23:59:59.123Z',
    version: '0.1.0',
    pid: 4711,
    startedAt: '2026-01-31T23:59:58.000Z',
    slot: {
      name: 'wal2rabbit',
      plugin: 'pgoutput',
      publication: 'wal2rabbit',
      table: 'public.outbox',
      walStatus: 'reserved',
      safeWalSize: 1001,
      confirmedFlushLsn: '0/A6',
      restartLsn: '0/A7',
      active: true,
    },
    positions: { received: '16/B374D848', published: '0/A2', settled: '0/A3', stored: '0/A4', acknowledged: '0/A5' },
    lag: { bytesToSettled: 2001, bytesToRestart: 2002, seconds: 1.5 },
    window: { messages: 11, bytes: 12, inFlight: 13, limitMessages: 14, limitBytes: 15 },
    counters: {
      received: 21,
      published: 22,
      confirmed: 23,
      nacked: 24,
      returned: 25,
      dropped: 26,
      deadLettered: 27,
      ignored: 28,
      reconnects: { source: 29, sink: 30 },
    },
    deadLetters: { parked: 33, aggregates: 34 },
    checkpoint: { storedAt: '2026-01-31T23:59:59.000Z', ageSeconds: 0.25, events: 31, epoch: 32, owner: 'host/4711' },
    replayWindow: {
      anchors: [
        { name: 'wal2rabbit_anchor_20260131120000', lsn: '0/A8', retainedBytes: 42 },
        { name: 'wal2rabbit_anchor_20260131180000', lsn: '0/A9', retainedBytes: 41 },
      ],
      reachesBackTo: '0/A8',
      reachesBackToTime: '2026-01-31T12:00:00.000Z',
      bytes: 43,
      seconds: 44.5,
      retainedBytes: 42,
      degraded: null,
    },
    retention: {
      lastPassAt: '2026-01-31T23:59:59.456Z',
      rowsDeleted: 35,
      partitionsDropped: 36,
      floorLsn: '0/A8',
      failing: null,
      waiting: null,
    },
    sink: { state: 'open', blocked: false },
    ...changes,
  }
}
