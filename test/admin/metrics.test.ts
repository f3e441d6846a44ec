import { expect, test } from 'vitest'
import { LatencyHistogram } from '../../src/admin/latency-histogram.ts'
import { createMetrics } from '../../src/admin/metrics.ts'
import { bridgeStates, type Status } from '../../src/admin/status.ts'
import { parseExposition } from './exposition.ts'
import { sampleStatus } from './sample-status.ts'

function metricsOf(provider: () => Status, confirmLatency = new LatencyHistogram()) {
  return createMetrics({ provider, confirmLatency })
}

async function scrape(status: Status) {
  return parseExposition(await metricsOf(() => status).expose())
}

test('every number of the status comes out under its own name', async () => {
  const samples = await scrape(sampleStatus())
  const own = [...samples].filter(([series]) => /^wal2rabbit_(?!state|slot_wal|confirm_latency)/.test(series))
  expect(Object.fromEntries(own)).toEqual({
    'wal2rabbit_build_info{version="0.1.0"}': 1,
    wal2rabbit_dead_letters: 33,
    wal2rabbit_parked_aggregates: 34,
    wal2rabbit_events_received_total: 21,
    wal2rabbit_events_published_total: 22,
    wal2rabbit_events_confirmed_total: 23,
    wal2rabbit_events_nacked_total: 24,
    wal2rabbit_events_returned_total: 25,
    wal2rabbit_events_dropped_total: 26,
    wal2rabbit_events_dead_lettered_total: 27,
    wal2rabbit_changes_ignored_total: 28,
    'wal2rabbit_reconnects_total{side="source"}': 29,
    'wal2rabbit_reconnects_total{side="sink"}': 30,
    wal2rabbit_received_lsn_bytes: 0x16_b374d848,
    wal2rabbit_published_lsn_bytes: 0xa2,
    wal2rabbit_settled_lsn_bytes: 0xa3,
    wal2rabbit_stored_lsn_bytes: 0xa4,
    wal2rabbit_acknowledged_lsn_bytes: 0xa5,
    wal2rabbit_slot_confirmed_flush_lsn_bytes: 0xa6,
    wal2rabbit_slot_restart_lsn_bytes: 0xa7,
    'wal2rabbit_lag_bytes{to="confirmed"}': 2001,
    'wal2rabbit_lag_bytes{to="restart"}': 2002,
    wal2rabbit_lag_seconds: 1.5,
    wal2rabbit_window_messages: 11,
    wal2rabbit_window_bytes: 12,
    wal2rabbit_window_in_flight_messages: 13,
    wal2rabbit_window_limit_messages: 14,
    wal2rabbit_window_limit_bytes: 15,
    wal2rabbit_replay_anchors: 2,
    wal2rabbit_replay_window_bytes: 43,
    wal2rabbit_replay_window_seconds: 44.5,
    wal2rabbit_replay_wal_retained_bytes: 42,
    wal2rabbit_replay_window_degraded: 0,
    wal2rabbit_outbox_rows_deleted_total: 35,
    wal2rabbit_outbox_partitions_dropped_total: 36,
    wal2rabbit_outbox_retention_failing: 0,
    wal2rabbit_outbox_retention_waiting: 0,
    wal2rabbit_sink_blocked: 0,
    wal2rabbit_checkpoint_age_seconds: 0.25,
    wal2rabbit_slot_safe_wal_bytes: 1001,
  })
})

test('exactly one state is 1, whichever it is', async () => {
  for (const state of bridgeStates) {
    const samples = await scrape(sampleStatus({ state }))
    const set = bridgeStates.filter((name) => samples.get(`wal2rabbit_state{state="${name}"}`) === 1)
    expect(set).toEqual([state])
    expect([...samples.keys()].filter((series) => series.startsWith('wal2rabbit_state'))).toHaveLength(7)
  }
})

test('the WAL status of the slot is 1 for the present one', async () => {
  const { slot } = sampleStatus()
  const samples = await scrape(sampleStatus({ slot: { ...slot, walStatus: 'unreserved' } }))
  expect(samples.get('wal2rabbit_slot_wal_status{status="unreserved"}')).toBe(1)
  expect(samples.get('wal2rabbit_slot_wal_status{status="reserved"}')).toBe(0)
})

test('what is not known is left out instead of shown as 0', async () => {
  const { slot } = sampleStatus()
  const samples = await scrape(
    sampleStatus({
      slot: { ...slot, safeWalSize: null, confirmedFlushLsn: null },
      lag: { bytesToSettled: null, bytesToRestart: 5, seconds: 0 },
    }),
  )
  expect(samples.has('wal2rabbit_slot_safe_wal_bytes')).toBe(false)
  expect(samples.has('wal2rabbit_slot_confirmed_flush_lsn_bytes')).toBe(false)
  expect(samples.has('wal2rabbit_lag_bytes{to="confirmed"}')).toBe(false)
  expect(samples.get('wal2rabbit_lag_bytes{to="restart"}')).toBe(5)
})

test.each(['failing', 'waiting'] as const)(
  'a retention that is off is not %s, and one that is so shows it',
  async (what) => {
    const { retention } = sampleStatus()
    const name = `wal2rabbit_outbox_retention_${what}`
    expect((await scrape(sampleStatus({ retention: null }))).has(name)).toBe(false)
    const stuck = { ...retention!, [what]: 'no created_at column' }
    expect((await scrape(sampleStatus({ retention: stuck }))).get(name)).toBe(1)
  },
)

test('each scrape shows the status of its own moment, and keeps nothing of the one before', async () => {
  const { slot } = sampleStatus()
  let status = sampleStatus()
  const metrics = metricsOf(() => status)
  await metrics.expose()
  status = sampleStatus({ slot: { ...slot, safeWalSize: null }, sink: { state: 'blocked', blocked: true } })
  const samples = parseExposition(await metrics.expose())
  expect(samples.get('wal2rabbit_events_confirmed_total')).toBe(23)
  expect(samples.get('wal2rabbit_sink_blocked')).toBe(1)
  expect(samples.has('wal2rabbit_slot_safe_wal_bytes')).toBe(false)
})

test('confirm latency and process metrics are in the same page', async () => {
  const confirmLatency = new LatencyHistogram()
  confirmLatency.observe(0.002, 40)
  const samples = parseExposition(await metricsOf(() => sampleStatus(), confirmLatency).expose())
  expect(samples.get('wal2rabbit_confirm_latency_seconds_bucket{le="0.001"}')).toBe(0)
  expect(samples.get('wal2rabbit_confirm_latency_seconds_bucket{le="0.0025"}')).toBe(40)
  expect(samples.get('wal2rabbit_confirm_latency_seconds_count')).toBe(40)
  expect(samples.get('process_resident_memory_bytes')).toBeGreaterThan(1e6)
})
