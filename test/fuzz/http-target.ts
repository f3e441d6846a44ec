import { connect, type Socket } from 'node:net'
import { LatencyHistogram } from '../../src/admin/latency-histogram.ts'
import { createMetrics } from '../../src/admin/metrics.ts'
import { startAdmin } from '../../src/admin/server.ts'
import { sampleStatus } from '../admin/sample-status.ts'
import type { SeededRandom } from '../support/seeded-random.ts'
import { type CaseLog, type FuzzTarget, mustHold } from './fuzz-target.ts'
import { mutate, noise, pick } from './mutation.ts'

/** How long the server may take over a request that is never finished: its own 5 s, its look each second, a margin. */
const halfRequest_ms_max = 15_000
/** A request that is still waited for then counts as unfinished. */
const patience_ms = 25

const requests = [
  'GET /livez HTTP/1.1\r\nHost: h\r\n\r\n',
  'GET /readyz?x=%00 HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\n\r\n',
  'HEAD /metrics HTTP/1.0\r\n\r\n',
  'GET /api/status HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n',
  'POST /api/status HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello',
  'PUT /c4nary HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  'CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n',
  'OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n',
  `GET /${'a'.repeat(9000)} HTTP/1.1\r\nHost: h\r\n\r\n`,
  `GET /livez HTTP/1.1\r\nHost: h\r\n${'X: y\r\n'.repeat(2000)}\r\n`,
  'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
].map((text) => Buffer.from(text))

export const httpTarget: FuzzTarget = {
  name: 'http',
  about: 'raw bytes to the admin server over sockets, half-open and unfinished requests too',
  weight: 1,
  async start() {
    const provider = () => sampleStatus()
    const metrics = createMetrics({ provider, confirmLatency: new LatencyHistogram() })
    const failures: Error[] = []
    const onError = (error: Error) => failures.push(error)
    const admin = await startAdmin({ host: '127.0.0.1', port: 0, provider, metrics, scrub: (text) => text, onError })
    const port = Number(new URL(admin.address).port)
    const halfOpen = ['GET /livez HT', 'POST /livez HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n'].map((text) =>
      ended(port, text),
    )
    let cases = 0
    return {
      async runCase(random, log) {
        await runHttpCase(port, random, log)
        if (++cases % 50 === 0) await checkGoodRequest(admin.address)
        mustHold(failures.length === 0, () => `the server reports ${failures[0]?.message}`)
      },
      async stop() {
        await checkGoodRequest(admin.address)
        const slowest = Math.max(...(await Promise.all(halfOpen)))
        mustHold(slowest < halfRequest_ms_max, () => `half a request was kept open for ${slowest} ms`)
        await admin.close()
      },
    }
  },
}

async function runHttpCase(port: number, random: SeededRandom, log: CaseLog): Promise<void> {
  const good = pick(random, requests)
  const bytes = random.chance(0.1) ? noise(random, 200) : random.chance(0.9) ? mutate(random, good, requests) : good
  log.input(bytes)
  const answer = await exchange(port, bytes, random.between(0, bytes.length), random.chance(0.5))
  mustHold(!answer.includes('c4nary'), 'the path is repeated')
  const statuses = [...answer.matchAll(/^HTTP\/1\.1 (\d{3}) /gm)].map(([, status]) => Number(status))
  mustHold(answer === '' || statuses.length > 0, () => `not an answer of HTTP: ${answer.slice(0, 200)}`)
  for (const status of statuses) mustHold(status < 500, () => `answered ${status}`)
  const status = statuses.at(-1)
  if (status === undefined) log.refuse('no answer')
  else if (status < 400) log.accept()
  else log.refuse(String(status))
}

/** Sends the bytes in two pieces and gives the answer, up to the end or until patience is over. */
function exchange(port: number, bytes: Buffer, cut: number, ends: boolean): Promise<string> {
  return new Promise((resolve) => {
    let answer = ''
    const socket = open(port, () => {
      clearTimeout(timer)
      resolve(answer)
    })
    const timer = setTimeout(() => socket.destroy(), patience_ms)
    socket.on('data', (chunk) => {
      answer += chunk.toString('latin1')
    })
    socket.write(bytes.subarray(0, cut))
    socket.write(bytes.subarray(cut))
    if (ends) socket.end()
  })
}

/** Milliseconds until the server has ended a connection on which only `text` was sent. */
function ended(port: number, text: string): Promise<number> {
  const began = performance.now()
  return new Promise((resolve) => {
    open(port, () => resolve(performance.now() - began))
      .resume()
      .write(text)
  })
}

function open(port: number, onClose: () => void): Socket {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true })
  socket.on('error', () => {}) // a reset is an answer, too: what counts is that it ends
  socket.on('close', onClose)
  return socket
}

async function checkGoodRequest(address: string): Promise<void> {
  const response = await fetch(`${address}/livez`)
  mustHold(response.status === 200, () => `a good request is answered with ${response.status}`)
}
