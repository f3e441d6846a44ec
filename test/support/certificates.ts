import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { TlsFiles } from './services/contract.ts'
import { serviceFolder } from './services/folders.ts'

const run = promisify(execFile)

export interface CertificateOptions {
  /** Names the certificate is for, as openssl writes them. Default: `DNS:localhost,IP:127.0.0.1`. */
  readonly names?: string
  /** A certificate that ran out yesterday. */
  readonly expired?: boolean
}

export interface Certificates extends TlsFiles {
  /** An authority that has nothing to do with the certificate. */
  readonly otherCa: string
}

/** A throw-away authority and a server certificate signed by it (openssl), gone when this process ends. */
export async function makeCertificates(options: CertificateOptions = {}): Promise<Certificates> {
  const folder = serviceFolder('tls')
  const at = (name: string): string => join(folder, name)
  await makeAuthority(at('ca'), 'wal2rabbit test authority')
  await makeAuthority(at('other-ca'), 'wal2rabbit other authority')
  await run('openssl', [
    'req',
    '-new',
    ...newKey(at('server.key')),
    '-subj',
    '/CN=wal2rabbit test',
    '-out',
    at('server.csr'),
  ])
  writeFileSync(at('index.txt'), '')
  writeFileSync(at('ca.cnf'), signingConfiguration(folder, options.names ?? 'DNS:localhost,IP:127.0.0.1'))
  const [from, to] = options.expired === true ? [-30, -1] : [-1, 30]
  const dates = ['-startdate', openSslDate(from), '-enddate', openSslDate(to)]
  // `openssl ca` and not `x509 -req`: only this one takes dates in every version.
  const sign = [
    'ca',
    '-batch',
    '-notext',
    '-config',
    at('ca.cnf'),
    ...dates,
    '-in',
    at('server.csr'),
    '-out',
    at('server.crt'),
  ]
  await run('openssl', sign)
  return { cert: at('server.crt'), key: at('server.key'), ca: at('ca.crt'), otherCa: at('other-ca.crt') }
}

async function makeAuthority(path: string, name: string): Promise<void> {
  const extensions = [
    '-addext',
    'basicConstraints=critical,CA:TRUE',
    '-addext',
    'keyUsage=critical,keyCertSign,cRLSign',
  ]
  const subject = ['-subj', `/CN=${name}`, '-days', '30']
  // Without a configuration of its own openssl reads the machine's, whose extensions would come twice.
  writeFileSync(`${path}.cnf`, '[req]\ndistinguished_name = name\n[name]\n')
  const request = ['req', '-x509', '-config', `${path}.cnf`, ...newKey(`${path}.key`), ...subject, ...extensions]
  await run('openssl', [...request, '-out', `${path}.crt`])
}

/** RSA: the Erlang of old brokers and every client take it. */
function newKey(file: string): string[] {
  return ['-newkey', 'rsa:2048', '-nodes', '-keyout', file]
}

function signingConfiguration(folder: string, names: string): string {
  return `[ca]
default_ca = throw_away
[throw_away]
database = ${folder}/index.txt
new_certs_dir = ${folder}
certificate = ${folder}/ca.crt
private_key = ${folder}/ca.key
rand_serial = yes
default_md = sha256
policy = anything
x509_extensions = server
[anything]
commonName = supplied
[server]
basicConstraints = CA:FALSE
keyUsage = digitalSignature,keyEncipherment
extendedKeyUsage = serverAuth
subjectAltName = ${names}
`
}

function openSslDate(daysFromNow: number): string {
  const date = new Date(Date.now() + daysFromNow * 86_400_000).toISOString()
  return `${date.slice(0, 19).replaceAll(/[-:T]/g, '')}Z`
}
