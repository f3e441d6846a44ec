import { readFile } from 'node:fs/promises'
import { BridgeError } from '../base/errors.ts'
import type { BrokerTls } from '../sink/amqp-connection.ts'

/** `sink.tls` as configured: paths of PEM files. */
export interface BrokerTlsFiles {
  readonly ca?: string | undefined
  readonly cert?: string | undefined
  readonly key?: string | undefined
  readonly passphrase?: string | undefined
  readonly serverName?: string | undefined
  readonly verify: boolean
}

/** Reads the files. Rejects with CONFIG_INVALID, naming key and path. */
export async function brokerTls(files: BrokerTlsFiles): Promise<BrokerTls> {
  const [ca, cert, key] = await Promise.all([
    readPem('sink.tls.ca', files.ca),
    readPem('sink.tls.cert', files.cert),
    readPem('sink.tls.key', files.key),
  ])
  const { passphrase, serverName, verify } = files
  return { ca, cert, key, passphrase, serverName, verify }
}

async function readPem(key: string, path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? String(error)
    throw new BridgeError('CONFIG_INVALID', `${key}: cannot read ${path} (${reason}); expected a PEM file`, {
      cause: error,
    })
  }
}
