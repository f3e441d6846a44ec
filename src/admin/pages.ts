import { toBridgeError } from '../base/errors.ts'
import type { Metrics } from './metrics.ts'
import type { Status, StatusProvider } from './status.ts'

/** One answer: what the HTTP loop writes, nothing decided after it. */
export interface Page {
  readonly status: number
  readonly contentType: string
  readonly body: string
  readonly allow?: string
}

export interface PageOptions {
  readonly provider: StatusProvider
  readonly metrics: Metrics
  /** Takes secrets out of a text. */
  readonly scrub: (text: string) => string
}

type Render = (options: PageOptions) => Page | Promise<Page>

const paths = new Map<string, Render>([
  // Liveness depends on nothing: a restart mends neither PostgreSQL nor RabbitMQ, and a halt must stay readable.
  ['/livez', ({ scrub }) => jsonPage(200, { alive: true }, scrub)],
  ['/readyz', ({ provider, scrub }) => readiness(provider(), scrub)],
  ['/api/status', ({ provider, scrub }) => jsonPage(200, provider(), scrub)],
  // Not scrubbed: it holds names of ours and numbers only, and a password "rabbit" would spoil every name.
  [
    '/metrics',
    async ({ metrics }) => ({ status: 200, contentType: metrics.contentType, body: await metrics.expose() }),
  ],
])

/** The page for a request line. Never rejects: what a page throws becomes a 500 that says so. */
export async function pageFor(method: string, url: string, options: PageOptions): Promise<Page> {
  const { scrub } = options
  const render = paths.get(url.split('?', 1)[0]!)
  // The path is not repeated: whatever was put there by mistake must not come back.
  if (render === undefined) return jsonPage(404, { error: 'no such page', pages: [...paths.keys()] }, scrub)
  if (method !== 'GET' && method !== 'HEAD')
    return { ...jsonPage(405, { error: 'method not allowed', expected: ['GET', 'HEAD'] }, scrub), allow: 'GET, HEAD' }
  try {
    return await render(options)
  } catch (error) {
    const { code, message, remedy } = toBridgeError(error)
    return jsonPage(500, { error: 'page failed', reason: { code, message, remedy } }, scrub)
  }
}

/** A standby is ready: it does its duty, and a rolling deployment must not wait for it to lead. */
function readiness({ state, reason }: Status, scrub: (text: string) => string): Page {
  const ready = state === 'streaming' || state === 'standby'
  return jsonPage(ready ? 200 : 503, { ready, state, reason }, scrub)
}

function jsonPage(status: number, value: unknown, scrub: (text: string) => string): Page {
  // Scrubbed string by string: a quote or backslash in a password looks different once it is JSON.
  const body = JSON.stringify(value, (_key, item: unknown) => (typeof item === 'string' ? scrub(item) : item), 2)
  return { status, contentType: 'application/json; charset=utf-8', body: `${body}\n` }
}
