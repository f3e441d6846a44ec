/** What is wrong with a url: what was expected, and how to mend it. Neither ever holds a part of the url itself. */
export interface UrlProblem {
  readonly expected: string
  readonly remedy?: string
}

/** libpq's modes without `prefer` and `allow`, which go on in plain text when TLS fails: nobody would notice. */
const sslModes = ['disable', 'require', 'verify-ca', 'verify-full']

const encodeRemedy = 'percent-encode special characters of user and password (@ is %40, / is %2F, : is %3A)'

/** The problem of a PostgreSQL connection url; undefined when it is fine. */
export function sourceUrlProblem(url: string): UrlProblem | undefined {
  const expected = 'expected a url of the form postgres://user@host:5432/database?sslmode=verify-full'
  if (!/^postgres(ql)?:\/\//.test(url)) return { expected }
  // postgres://app@/shop?host=/var/run/postgresql, a unix socket, is a url to libpq and not to the URL standard.
  const standard = url.replace('@/', '@socket/')
  if (!URL.canParse(standard)) return { expected, remedy: encodeRemedy }
  const { host, pathname, searchParams } = new URL(standard)
  if (host.includes(','))
    return { expected: 'expected one host', remedy: 'name the primary, or a proxy in front of it' }
  if (pathname.includes('@')) return { expected, remedy: encodeRemedy }
  const sslMode = searchParams.get('sslmode')
  if (sslMode !== null && !sslModes.includes(sslMode)) {
    return {
      expected: `expected sslmode to be one of ${sslModes.join(', ')}`,
      remedy: 'prefer and allow are refused: they go on in plain text when TLS fails',
    }
  }
  if (sslMode === 'verify-ca' && !searchParams.has('sslrootcert')) {
    return {
      expected: 'expected sslrootcert beside sslmode=verify-ca',
      remedy: 'without an authority of your own anybody could have a certificate that fits; or use verify-full',
    }
  }
  const connectTimeout = searchParams.get('connect_timeout')
  if (connectTimeout !== null && !/^\d+$/.test(connectTimeout)) {
    return { expected: 'expected connect_timeout in whole seconds', remedy: 'or use source.connectTimeout' }
  }
  for (const name of ['ssl', 'requiressl', 'sslnegotiation']) {
    if (searchParams.has(name)) return { expected: `expected no parameter ${name}`, remedy: 'write sslmode=… instead' }
  }
  return undefined
}

/** The problem of one RabbitMQ url; undefined when it is fine. */
export function sinkUrlProblem(url: string): UrlProblem | undefined {
  const expected = 'expected a url of the form amqps://user@host:5671/vhost'
  if (!/^amqps?:\/\//.test(url)) return { expected }
  if (!URL.canParse(url)) return { expected, remedy: encodeRemedy }
  const { hostname, pathname, search, hash } = new URL(url)
  if (hostname === '') return { expected: `${expected} (the host is missing)` }
  if (pathname.includes('@')) return { expected, remedy: encodeRemedy }
  if (hash !== '') return { expected, remedy: encodeRemedy }
  if (pathname.slice(1).includes('/')) {
    return { expected: 'expected one vhost after the host', remedy: 'a "/" in a vhost is written %2F' }
  }
  if (search !== '') {
    return {
      expected: 'expected no query parameters',
      remedy: 'use sink.heartbeat, sink.connectTimeout and sink.tls instead',
    }
  }
  return undefined
}

/** The problem of all urls of a cluster together; undefined when they are fine. */
export function sinkUrlsProblem(urls: readonly string[]): UrlProblem | undefined {
  const ofOne = urls.map(sinkUrlProblem).find((problem) => problem !== undefined)
  if (ofOne !== undefined) return ofOne
  if (new Set(urls.map((url) => url.startsWith('amqps:'))).size < 2) return undefined
  return {
    expected: 'expected either amqps urls or amqp urls, not both',
    remedy: 'one of them would go on in plain text',
  }
}

/** Splits a comma-separated list of urls: at commas that a scheme follows, so that a stray comma is found as a mistake. */
export function splitUrls(text: string): string[] {
  return text.split(/,\s*(?=[a-z][a-z0-9+.-]*:\/\/)/i).map((url) => url.trim())
}
