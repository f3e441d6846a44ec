import { type HistoryResult, runHistory } from './history.ts'

/** Sums over many histories. */
export interface Figures {
  histories: number
  halted: number
  events: number
  deliveries: number
  repeats: number
  deadLetters: number
  stores: number
  undone: number
  steps: number
  /** Virtual milliseconds. */
  duration: number
  /** How often each fault happened. */
  faults: Record<string, number>
  /** The first histories that broke something, at most ten of them. */
  violations: { seed: number; violation: string; profile: string; faults: string }[]
  violated: number
}

export function noFigures(): Figures {
  return {
    histories: 0,
    halted: 0,
    events: 0,
    deliveries: 0,
    repeats: 0,
    deadLetters: 0,
    stores: 0,
    undone: 0,
    steps: 0,
    duration: 0,
    faults: {},
    violations: [],
    violated: 0,
  }
}

const violations_max = 10

/** Runs the histories with seeds from `first` on, one after the other; `onHistory` after each. */
export async function runCampaign(
  first: number,
  histories: number,
  onHistory: (figures: Figures) => void = () => {},
): Promise<Figures> {
  const figures = noFigures()
  for (let seed = first; seed < first + histories; seed++) {
    add(figures, await runHistory(seed))
    onHistory(figures)
    if (figures.violated >= violations_max) break
  }
  return figures
}

/** Adds the figures of another part of the same campaign. */
export function addFigures(to: Figures, from: Figures): void {
  for (const key of counted) to[key] += from[key]
  for (const [name, count] of Object.entries(from.faults)) to.faults[name] = (to.faults[name] ?? 0) + count
  to.violations.push(...from.violations)
  to.violated += from.violated
}

const counted = [
  'histories',
  'halted',
  'events',
  'deliveries',
  'repeats',
  'deadLetters',
  'stores',
  'undone',
  'steps',
  'duration',
] as const

/** A line for each figure, and for each violation how to see it again. */
export function describeFigures(figures: Figures): string {
  const faults = Object.entries(figures.faults).sort(([a], [b]) => (a < b ? -1 : 1))
  const total = faults.reduce((sum, [, count]) => sum + count, 0)
  return [
    `${figures.histories} histories, ${figures.violated} of them broke something, ${figures.halted} ended halted as they must`,
    `${figures.events} events (${figures.undone} taken back by a failover), ${figures.deliveries} deliveries to a queue, ${figures.repeats} of them repeats, ${figures.deadLetters} times kept as a dead letter, ${figures.stores} stores`,
    `${total} faults: ${faults.map(([name, count]) => `${name} ${count}`).join(', ')}`,
    `${figures.steps} steps, ${Math.round(figures.duration / 3_600_000)} hours of virtual time`,
    ...figures.violations.map(
      ({ seed, violation, profile, faults: which }) =>
        `seed ${seed}: ${violation}\n  ${profile}\n  faults: ${which}\n  again: npm run simulate -- --seed ${seed} --histories 1`,
    ),
  ].join('\n')
}

function add(figures: Figures, { seed, violation, halted, profile, faults, ...result }: HistoryResult): void {
  figures.histories++
  if (halted) figures.halted++
  figures.events += result.events
  figures.deliveries += result.deliveries
  figures.repeats += result.repeats
  figures.deadLetters += result.deadLetters
  figures.stores += result.stores
  figures.undone += result.undone
  figures.steps += result.steps
  figures.duration += result.duration
  for (const [name, count] of faults) figures.faults[name] = (figures.faults[name] ?? 0) + count
  if (violation === undefined) return
  figures.violated++
  const which = [...faults].map(([name, count]) => `${name} ${count}`).join(', ') || 'none'
  figures.violations.push({ seed, violation, profile: JSON.stringify(profile), faults: which })
}
