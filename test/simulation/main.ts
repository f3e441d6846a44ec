import { fork } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { addFigures, describeFigures, type Figures, noFigures, runCampaign } from './campaign.ts'

// npm run simulate -- [--histories 1000000] [--seed N] [--workers N]

interface Part {
  readonly first: number
  readonly histories: number
}

interface Report {
  readonly figures: Figures
  readonly over: boolean
}

/** Histories between two reports of a worker. */
const report_histories = 500

// A history replaces the timers of its process: each worker is one of its own.
const [first, histories] = (process.env.WAL2RABBIT_SIMULATION_PART ?? '').split(' ').map(Number)
if (first !== undefined && histories !== undefined) await work({ first, histories })
else await lead()

async function work({ first, histories }: Part): Promise<void> {
  for (let done = 0; done < histories; done += report_histories) {
    const figures = await runCampaign(first + done, Math.min(report_histories, histories - done))
    const report: Report = { figures, over: done + report_histories >= histories }
    process.send?.(report)
  }
}

async function lead(): Promise<void> {
  const { values } = parseArgs({
    options: {
      histories: { type: 'string', default: '1000000' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000_000) },
      workers: { type: 'string', default: String(availableParallelism()) },
    },
  })
  const [histories, seed, workers] = [values.histories, values.seed, values.workers].map(Number)
  if (!isCount(histories) || !isCount(workers) || seed === undefined || !Number.isSafeInteger(seed) || seed < 0) {
    console.error('expected whole numbers: --histories and --workers from 1, --seed from 0')
    process.exitCode = 2
    return
  }
  console.log(`seed ${seed}: histories ${seed} to ${seed + histories - 1}`)
  const figures = noFigures()
  const startedAt = Date.now()
  let saidAt = startedAt
  const share = Math.ceil(histories / workers)
  const parts: Part[] = []
  for (let first = 0; first < histories; first += share)
    parts.push({ first: seed + first, histories: Math.min(share, histories - first) })
  await Promise.all(
    parts.map((part) =>
      runPart(part, (report) => {
        addFigures(figures, report.figures)
        if (Date.now() - saidAt < 5000) return
        saidAt = Date.now()
        const rate = (figures.histories / (saidAt - startedAt)) * 1000
        const left = Math.round((histories - figures.histories) / rate)
        console.log(
          `${figures.histories} of ${histories} histories, ${Math.round(rate)}/s, ${left} s left, ${figures.violated} broke something`,
        )
      }),
    ),
  )
  console.log(describeFigures(figures))
  console.log(`${Math.round((Date.now() - startedAt) / 1000)} s`)
  if (figures.violated > 0) process.exitCode = 1
}

/** Resolves when the part is done. Rejects for an error that no history caught. */
function runPart(part: Part, onReport: (report: Report) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, WAL2RABBIT_SIMULATION_PART: `${part.first} ${part.histories}` }
    const worker = fork(fileURLToPath(import.meta.url), { env })
    worker.on('message', (report: Report) => onReport(report))
    worker.on('error', reject)
    worker.on('exit', (code) => (code === 0 ? resolve() : reject(new Error(`a worker ended with exit code ${code}`))))
  })
}

function isCount(value: number | undefined): value is number {
  return value !== undefined && Number.isSafeInteger(value) && value >= 1
}
