import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { LatencyHistogram } from '../../src/admin/latency-histogram.ts'
import { createMetrics } from '../../src/admin/metrics.ts'
import { parseExposition } from './exposition.ts'
import { sampleStatus } from './sample-status.ts'

interface RuleFile {
  readonly groups: readonly { readonly rules: readonly { readonly alert: string; readonly expr: string }[] }[]
}

test('every metric, label and value that an alert names is in the page /metrics', async () => {
  const metrics = createMetrics({ provider: () => sampleStatus(), confirmLatency: new LatencyHistogram() })
  const series = [...parseExposition(await metrics.expose()).keys()]
  const names = new Set(series.map((one) => one.replace(/\{.*/, '')))
  const file = parse(await readFile(new URL('../../deploy/alerts.yml', import.meta.url), 'utf8')) as RuleFile
  const rules = file.groups.flatMap((group) => group.rules)
  expect(new Set(rules.map((rule) => rule.alert)).size).toBe(rules.length)
  for (const { alert, expr } of rules) {
    for (const [name] of expr.matchAll(/wal2rabbit_\w+/g)) expect(names, alert).toContain(name)
    for (const [, name, label, values] of expr.matchAll(/(wal2rabbit_\w+)\{(\w+)=~?"([^"]+)"\}/g))
      for (const value of values!.split('|')) expect(series, alert).toContain(`${name}{${label}="${value}"}`)
  }
})
