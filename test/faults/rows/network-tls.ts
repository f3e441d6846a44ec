import { type Certificates, makeCertificates } from '../../support/certificates.ts'
import { brokerUser, databasePassword } from '../rig/server.ts'
import type { Row } from '../row.ts'
import { payloadCanary } from '../workload/transaction.ts'
import { Recorder, startExpired } from './network-recorder.ts'

/** What is in the clear of a connection that should be encrypted, and may not be. */
const words = [
  databasePassword,
  brokerUser.password,
  payloadCanary,
  'START_REPLICATION',
  'INSERT',
  'wal2rabbit.checkpoint',
]

export const tlsRows: readonly Row[] = [
  {
    id: 'F72',
    title: 'TLS of both links: wrong authority, wrong host name, expired certificate, server without TLS; then right',
    expect: 'H',
    timeout: 400,
    async run(rig, { seed }) {
      const [good, expired] = await Promise.all([
        makeCertificates({ names: 'DNS:localhost' }),
        makeCertificates({ names: 'DNS:localhost', expired: true }),
      ])
      const scene = await rig.scene({ seed, postgres: { tls: good }, rabbit: { tls: good } })
      const { bridge } = scene
      const tlsPort = Number(new URL(scene.rabbit.service.tlsUrl ?? '').port)
      // Everything that goes to either server passes here and is kept: the bridge has no other way.
      const postgres = await Recorder.start(rig, scene.postgres.service.port)
      const rabbit = await Recorder.start(rig, tlsPort)
      const plainRabbit = await Recorder.start(rig, scene.rabbit.service.port)
      const expiredPostgres = await startExpired(rig, expired, 'postgres')
      const expiredRabbit = await startExpired(rig, expired, 'amqps')
      // A PostgreSQL without TLS is one that answers "N" to the request for it.
      const plainPostgres = await startExpired(rig, expired, 'refuse')

      const source = (port: number, { ca }: Pick<Certificates, 'ca'>, host = 'localhost') => ({
        WAL2RABBIT_SOURCE_URL: `postgres://postgres:${databasePassword}@${host}:${port}/${scene.database}?sslmode=verify-full&sslrootcert=${ca}`,
      })
      const sink = (port: number, { ca }: Pick<Certificates, 'ca'>, host = 'localhost') => ({
        WAL2RABBIT_SINK_URL: `amqps://${brokerUser.name}:${brokerUser.password}@${host}:${port}`,
        WAL2RABBIT_SINK_TLS_CA: ca,
      })
      const right = { ...source(postgres.port, good), ...sink(rabbit.port, good) }
      const stranger = { ca: good.otherCa }
      const wrong = [
        ['SOURCE_TLS_FAILED', source(postgres.port, stranger)],
        ['SOURCE_TLS_FAILED', source(postgres.port, good, '127.0.0.1')],
        ['SOURCE_TLS_FAILED', source(expiredPostgres.port, expired)],
        ['SOURCE_TLS_FAILED', source(plainPostgres.port, good)],
        ['SINK_TLS_FAILED', sink(rabbit.port, stranger)],
        ['SINK_TLS_FAILED', sink(rabbit.port, good, '127.0.0.1')],
        ['SINK_TLS_FAILED', sink(expiredRabbit.port, expired)],
        ['SINK_TLS_FAILED', sink(plainRabbit.port, good)],
      ] as const
      scene.load.start()
      for (const [code, env] of wrong) {
        bridge.start({ env: { ...right, ...env } })
        await scene.halts(code, 20_000)
        const exitCode = await bridge.stop()
        scene.expect(exitCode === 3, 'I9', `halted with ${code}, it ended with ${exitCode} instead of 3`)
      }
      bridge.start({ env: right })
      await scene.recovers('all is right', 20_000)
      const figures = await scene.finish({ runs: wrong.length })
      const clear = [postgres, rabbit, plainRabbit, plainPostgres].flatMap((one) => one.sent())
      const leaks = words.filter((word) => clear.some((bytes) => bytes.includes(word)))
      const trusted = [...expiredPostgres.trusted(), ...expiredRabbit.trusted()].length
      const unencrypted = clear.filter((bytes) => !isTls(bytes))
      const violations = [...figures.violations]
      const add = (what: string, count: number) => count > 0 && violations.push({ invariant: 'I11', what, count })
      add(`in the clear: ${leaks.join(', ')}`, leaks.length)
      add('sent to a server with an expired certificate', trusted)
      add(
        `connections that began otherwise than with TLS: ${unencrypted[0]?.subarray(0, 16).toString('hex')}`,
        unencrypted.length,
      )
      return { ...figures, violations }
    },
  },
]

/** A ClientHello, or PostgreSQL's SSLRequest and then nothing or a ClientHello. */
function isTls(bytes: Buffer): boolean {
  const hex = bytes.subarray(0, 10).toString('hex')
  return hex === '' || /^1603/.test(hex) || /^0000000804d2162f($|1603)/.test(hex)
}
