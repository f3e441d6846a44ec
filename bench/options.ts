import { parseArgs } from 'node:util'
import { parseDuration, parseSize } from '../src/config/units.ts'

export const queueTypes = ['quorum', 'classic', 'stream'] as const

export type QueueType = (typeof queueTypes)[number]

export interface BenchOptions {
  /** Drain one transaction and watch the memory, instead of throughput and latency. */
  readonly memory: boolean
  /** Good events among as many to a dead route, instead of throughput and latency. */
  readonly flood: boolean
  /** Watch the anchor slots under heavy writes for so many milliseconds; 0 leaves it out. */
  readonly window_ms: number
  /** `replay.window.bytes` meanwhile. */
  readonly windowBytes: number
  /** A replay beside the live stream, instead of throughput and latency. */
  readonly replay: boolean
  /** Events that are replayed. */
  readonly history: number
  readonly events: number
  /** Counted pairs; one more is run before them to warm up. */
  readonly rounds: number
  readonly queues: readonly QueueType[]
  /** Of the latency run on each side; 0 leaves it out. */
  readonly latency_seconds: number
  readonly jsonFile: string | undefined
}

export const usage = `npm run bench -- [options]

  --events N           events of one round (100000); with --memory rows of the transaction (1000000)
  --rounds N           counted rounds of each side, after one to warm up (3)
  --queue LIST         quorum, classic, stream, separated by commas (all; with --memory, --flood or --replay quorum)
  --latency-seconds N  length of the latency run on each side, 0 for none (15)
  --memory             drain one transaction and print the memory of the bridge over time
  --flood              good events alone, and among as many that no queue takes
  --window DURATION    write much WAL for so long, and watch the anchor slots of the replay window
  --window-bytes SIZE  replay.window.bytes meanwhile (64MiB)
  --replay             a replay from the WAL and from the table, alone and beside the live stream
  --history N          events that are replayed (500000)
  --json FILE          also write every figure to FILE`

/** Reads the command line. Throws a RangeError that says what was expected. */
export function readOptions(args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      memory: { type: 'boolean', default: false },
      flood: { type: 'boolean', default: false },
      window: { type: 'string' },
      'window-bytes': { type: 'string', default: '64MiB' },
      replay: { type: 'boolean', default: false },
      history: { type: 'string', default: '500000' },
      events: { type: 'string' },
      rounds: { type: 'string', default: '3' },
      queue: { type: 'string' },
      'latency-seconds': { type: 'string', default: '15' },
      json: { type: 'string' },
    },
  })
  return {
    memory: values.memory,
    flood: values.flood,
    window_ms: values.window === undefined ? 0 : quantity('--window', values.window, parseDuration),
    windowBytes: quantity('--window-bytes', values['window-bytes'], parseSize),
    replay: values.replay,
    history: wholeNumber('--history', values.history, 1),
    events: wholeNumber('--events', values.events ?? (values.memory ? '1000000' : '100000'), 1),
    rounds: wholeNumber('--rounds', values.rounds, 0),
    queues: (values.queue ?? (values.memory || values.flood || values.replay ? 'quorum' : queueTypes.join()))
      .split(',')
      .map(queueType),
    latency_seconds: wholeNumber('--latency-seconds', values['latency-seconds'], 0),
    jsonFile: values.json,
  }
}

function wholeNumber(flag: string, text: string, min: number): number {
  const number = Number(text)
  if (/^\d+$/.test(text) && Number.isSafeInteger(number) && number >= min) return number
  throw new RangeError(`${flag} is ${JSON.stringify(text)}; expected a whole number, ${min} or more`)
}

function quantity(flag: string, text: string, parse: (text: string) => number | undefined): number {
  const amount = parse(text)
  if (amount !== undefined && amount > 0) return amount
  throw new RangeError(`${flag} is ${JSON.stringify(text)}; expected a number above 0 with a unit, as 20m or 64MiB`)
}

function queueType(text: string): QueueType {
  const found = queueTypes.find((type) => type === text)
  if (found === undefined) {
    throw new RangeError(`--queue has ${JSON.stringify(text)}; expected some of ${queueTypes.join(', ')}`)
  }
  return found
}
