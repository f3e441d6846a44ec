import { parseArgs } from 'node:util'
import { type Area, type FaultId, isFaultId, matrix } from './matrix.ts'

export interface FaultsOptions {
  /** Rows of these ids; all when undefined. */
  readonly ids: readonly FaultId[] | undefined
  /** Rows with this in their title; all when undefined. */
  readonly title: string | undefined
  readonly area: Area | undefined
  readonly seed: number
  /** In place of what each row says. */
  readonly runs: number | undefined
  /** Only the rows that are part of npm test, as there. */
  readonly quick: boolean
  readonly markdownFile: string | undefined
  /** Random faults on all sides for so many milliseconds, instead of the matrix. */
  readonly soak_ms: number | undefined
  readonly list: boolean
}

export const usage = `npm run faults -- [options]

  --row F50[,F51]   only these faults
  --title TEXT      only rows with this in their title
  --area NAME       only bridge, postgres, rabbitmq, network or host
  --quick           only the rows that have a short form, in that
  --runs N          make each fault N times, instead of what its row says
  --seed N          repeat a run: everything random comes from it (the time of day)
  --markdown FILE   write the table to FILE; rows that were not run keep their last result there
  --soak DURATION   instead of the matrix, random faults on all sides at once, as 90s, 30m or 2h
  --list            print the rows and end

Exit codes: 0 all passed, 1 something failed (its logs are kept, the path is printed), 2 usage.`

const areas: readonly Area[] = ['bridge', 'postgres', 'rabbitmq', 'network', 'host']

/** Reads the command line. Throws a RangeError that says what was expected. */
export function readOptions(args: readonly string[]): FaultsOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      row: { type: 'string' },
      title: { type: 'string' },
      area: { type: 'string' },
      seed: { type: 'string' },
      runs: { type: 'string' },
      quick: { type: 'boolean', default: false },
      markdown: { type: 'string' },
      soak: { type: 'string' },
      list: { type: 'boolean', default: false },
    },
  })
  return {
    ids: values.row?.split(',').map(faultId),
    title: values.title,
    area: values.area === undefined ? undefined : area(values.area),
    seed: values.seed === undefined ? Date.now() % 1_000_000 : wholeNumber('--seed', values.seed),
    runs: values.runs === undefined ? undefined : Math.max(1, wholeNumber('--runs', values.runs)),
    quick: values.quick,
    markdownFile: values.markdown,
    soak_ms: values.soak === undefined ? undefined : duration(values.soak),
    list: values.list,
  }
}

function faultId(text: string): FaultId {
  if (isFaultId(text)) return text
  throw new RangeError(`--row has ${JSON.stringify(text)}; expected some of ${Object.keys(matrix).join(', ')}`)
}

function area(text: string): Area {
  const found = areas.find((name) => name === text)
  if (found !== undefined) return found
  throw new RangeError(`--area is ${JSON.stringify(text)}; expected one of ${areas.join(', ')}`)
}

function wholeNumber(flag: string, text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text)
  throw new RangeError(`${flag} is ${JSON.stringify(text)}; expected a whole number`)
}

function duration(text: string): number {
  const [, amount, unit] = /^(\d+)(s|m|h)$/.exec(text) ?? []
  if (amount === undefined || unit === undefined) {
    throw new RangeError(`--soak is ${JSON.stringify(text)}; expected a duration such as 90s, 30m or 2h`)
  }
  return Number(amount) * (unit === 's' ? 1000 : unit === 'm' ? 60_000 : 3_600_000)
}
