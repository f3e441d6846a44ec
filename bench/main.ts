import { writeFile } from 'node:fs/promises'
import { type Flood, floodLine, measureFlood } from './flood.ts'
import { type Latency, measureLatency } from './latency.ts'
import { type Memory, measureMemory } from './memory.ts'
import { type BenchOptions, readOptions, usage } from './options.ts'
import { measureReplay, type Replay, replayLine } from './replay.ts'
import { latencyTable, machineLine, memoryLine, throughputTable } from './report.ts'
import { type Servers, startServers } from './servers.ts'
import { measureThroughput, type Throughput } from './throughput.ts'
import { measureWindow, type ReplayWindowRun, windowLine } from './window.ts'

interface Figures {
  readonly command: string
  readonly machine: string
  readonly throughput: Throughput[]
  readonly latency: Latency[]
  readonly memory: Memory[]
  readonly flood: Flood[]
  readonly replay: Replay[]
  readonly window: ReplayWindowRun[]
}

/** Progress goes to standard error, results to standard output. */
const say = (line: string): void => void process.stderr.write(`${line}\n`)
const print = (text: string): void => void process.stdout.write(`\n${text}\n`)

async function main(args: readonly string[]): Promise<void> {
  if (args.includes('--help')) return print(usage)
  const options = readOptions(args)
  const servers = await startServers()
  try {
    const figures: Figures = {
      command: ['npm run bench', ...(args.length === 0 ? [] : ['--', ...args])].join(' '),
      machine: machineLine(servers),
      throughput: [],
      latency: [],
      memory: [],
      flood: [],
      replay: [],
      window: [],
    }
    print(`${figures.command}\n${figures.machine}`)
    await measure(options, servers, figures)
    if (options.jsonFile !== undefined) await writeFile(options.jsonFile, `${JSON.stringify(figures, null, 2)}\n`)
  } finally {
    await servers.close()
  }
}

async function measure(options: BenchOptions, servers: Servers, figures: Figures): Promise<void> {
  if (options.window_ms > 0) {
    const window = await measureWindow(options, servers, say)
    figures.window.push(window)
    print(windowLine(window))
    return
  }
  for (const queue of options.queues) {
    if (options.flood) {
      const flood = await measureFlood(options, queue, servers, say)
      figures.flood.push(flood)
      print(floodLine(flood))
      continue
    }
    if (options.replay) {
      const replay = await measureReplay(options, queue, servers, say)
      figures.replay.push(replay)
      print(replayLine(replay))
      continue
    }
    if (options.memory) {
      const memory = await measureMemory(options, queue, servers, say)
      figures.memory.push(memory)
      print(memoryLine(memory))
      continue
    }
    if (options.rounds > 0) {
      const throughput = await measureThroughput(options, queue, servers, say)
      figures.throughput.push(throughput)
      print(throughputTable(throughput, options.events))
    }
    if (options.latency_seconds > 0) {
      const latency = await measureLatency(options.latency_seconds, queue, servers)
      figures.latency.push(latency)
      print(latencyTable(latency))
    }
  }
}

try {
  await main(process.argv.slice(2))
} catch (error) {
  if (
    error instanceof RangeError ||
    (error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS'))
  ) {
    say(`${error.message}\n\n${usage}`)
    process.exitCode = 2
  } else {
    say(error instanceof Error ? (error.stack ?? error.message) : String(error))
    process.exitCode = 1
  }
}
