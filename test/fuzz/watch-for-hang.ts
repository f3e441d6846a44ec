import { Worker } from 'node:worker_threads'
import type { CaseLog } from './fuzz-target.ts'
import { caseTime_ms_max } from './run-fuzz.ts'

export interface HangWatch {
  /** Gives the callback that tells the watch of each case. */
  noteCase(name: string): (number: number, log: CaseLog) => void
  /** Inputs of the present case, hexadecimal. */
  lastInputs(): string[]
  stop(): void
}

/** Runs in a thread of its own: an endless loop in the main one would stop every timer there. */
const watcher = `
const { parentPort, workerData } = require('node:worker_threads')
const { writeSync } = require('node:fs')
const beat = new Int32Array(workerData.shared)
let name = ''
parentPort.on('message', (text) => { name = text })
let [last, since] = [-1, Date.now()]
setInterval(() => {
  if (beat[0] !== last) { last = beat[0]; since = Date.now(); return }
  if (Date.now() - since < workerData.limit) return
  writeSync(2, 'hangs: ' + name + ', case ' + last + '\\n')
  process.kill(process.pid, 'SIGKILL')
}, 250)`

/** Ends the process, and says in which case, when one takes far too long without letting any timer run. */
export function watchForHang(): HangWatch {
  const shared = new SharedArrayBuffer(4)
  const beat = new Int32Array(shared)
  const worker = new Worker(watcher, { eval: true, workerData: { shared, limit: 3 * caseTime_ms_max } })
  worker.unref()
  let present: CaseLog | undefined
  return {
    noteCase(name) {
      worker.postMessage(name)
      return (number, log) => {
        beat[0] = number
        present = log
      }
    },
    lastInputs: () => (present?.inputs ?? []).slice(-3).map((input) => input.toString('hex', 0, 4096)),
    stop: () => void worker.terminate(),
  }
}
