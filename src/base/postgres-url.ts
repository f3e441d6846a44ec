import { isIP } from 'node:net'
import type { ClientConfig } from 'pg'
import { parse, toClientConfig } from 'pg-connection-string'
import { BridgeError } from './errors.ts'

const sslModes = ['disable', 'prefer', 'require', 'verify-ca', 'verify-full', 'no-verify']

/**
 * Reads a `postgres://` url into the driver's configuration, with libpq's meaning of sslmode, sslrootcert, sslcert and
 * sslkey (the certificate files are read now), and of connect_timeout (seconds). Once TLS is asked for, `prefer`
 * included, a server without it is refused: there is no way back to plain text. Without any TLS parameter the
 * connection is plain, as the driver's is.
 *
 * Throws CONFIG_INVALID; the message never holds the url, which carries the password.
 * Source: PostgreSQL documentation, "Database Connection Control Functions", 34.1.2 and "SSL Support", 34.19.
 */
export function clientConfigFromUrl(url: string): ClientConfig {
  if (!/^postgres(ql)?:\/\//.test(url)) throw invalid('it does not begin with postgres://')
  const parameters = queryOf(url)
  const mode = parameters.get('sslmode')
  if (mode !== null && !sslModes.includes(mode)) {
    throw invalid(`sslmode is ${JSON.stringify(mode)}, expected one of ${sslModes.join(', ')}`)
  }
  if (mode === null && parameters.has('ssl') && !/^(true|1|false|0|no-verify)$/.test(parameters.get('ssl')!)) {
    throw invalid(`ssl is ${JSON.stringify(parameters.get('ssl'))}, expected true, false or no-verify; or use sslmode`)
  }
  const timeout = parameters.get('connect_timeout')
  if (timeout !== null && !/^\d+$/.test(timeout)) {
    throw invalid(`connect_timeout is ${JSON.stringify(timeout)}, expected whole seconds`)
  }
  const config = clientConfig(url, parameters)
  if (timeout !== null && timeout !== '0') config.connectionTimeoutMillis = Number(timeout) * 1000
  return config
}

/** `db.example.org:5432/shop`: what an error or a log may say of a url. */
export function describePostgresUrl(url: string): string {
  const config = clientConfigFromUrl(url)
  const host = config.host ?? 'localhost'
  return `${isIP(host) === 6 ? `[${host}]` : host}:${config.port ?? 5432}/${config.database ?? config.user ?? ''}`
}

function clientConfig(url: string, parameters: URLSearchParams): ClientConfig {
  try {
    // no-verify is a word of the driver's, unknown to libpq; uselibpqcompat in the url is refused beside the option.
    const useLibpqCompat = parameters.get('sslmode') !== 'no-verify' && !parameters.has('uselibpqcompat')
    return toClientConfig(parse(url, { useLibpqCompat }))
  } catch (error) {
    // The parsers' messages and those of the file system hold no part of the url beside file names.
    const reason = error instanceof Error ? error.message : String(error)
    throw new BridgeError('CONFIG_INVALID', `source.url cannot be used: ${reason}`, { cause: error })
  }
}

function queryOf(url: string): URLSearchParams {
  const start = url.indexOf('?')
  return new URLSearchParams(start === -1 ? '' : url.slice(start + 1))
}

function invalid(reason: string): BridgeError {
  return new BridgeError('CONFIG_INVALID', `source.url cannot be used: ${reason}`)
}
