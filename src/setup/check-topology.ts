import { BridgeError, toBridgeError } from '../base/errors.ts'
import { type AmqpConnection, BrokerDialer } from '../sink/amqp-connection.ts'
import type { PrepareOptions } from '../sink/broker-setup.ts'
import { declareExchange, declareQueue, exchangeExists, queueExists, type Topology } from '../sink/topology.ts'
import { type CheckFinding, good, problem, warning } from './finding.ts'

/**
 * What `sink.topology` lists against what the broker has. Never rejects. Bindings are left out: AMQP has no way to look
 * for one.
 */
export async function checkTopology(options: Omit<PrepareOptions, 'create'>): Promise<CheckFinding[]> {
  const { topology } = options
  if (topology.exchanges.length + topology.queues.length === 0) return []
  let connection: AmqpConnection
  try {
    connection = await new BrokerDialer(options).dial()
  } catch (error) {
    return [problem('topology', toBridgeError(error))]
  }
  try {
    const findings: CheckFinding[] = []
    for (const spec of topology.exchanges) {
      const seen = { kind: 'exchange', name: spec.name, exists: () => exchangeExists(connection, spec.name) } as const
      findings.push(await compare(topology.mode, seen, () => declareExchange(connection, spec)))
    }
    for (const spec of topology.queues) {
      const seen = { kind: 'queue', name: spec.name, exists: () => queueExists(connection, spec.name) } as const
      findings.push(await compare(topology.mode, seen, () => declareQueue(connection, spec)))
    }
    return findings
  } finally {
    await connection.close()
  }
}

/**
 * `agrees` declares what is already there, which changes nothing: it is the one way of AMQP to compare properties. It
 * asks for the permission to configure, which a session needs as well in mode declare, but not in mode verify.
 */
async function compare(
  mode: Topology['mode'],
  { kind, name, exists }: { kind: 'exchange' | 'queue'; name: string; exists: () => Promise<boolean> },
  agrees: () => Promise<void>,
): Promise<CheckFinding> {
  const what = `${kind} "${name}"`
  const found = good(kind, `${what} of sink.topology exists`)
  try {
    if (!(await exists())) {
      if (mode === 'declare') return good(kind, `${what} of sink.topology is missing: init and run declare it`)
      const text = `${what} does not exist, and sink.topology lists it in mode verify`
      return problem(kind, new BridgeError(kind === 'queue' ? 'SINK_TOPOLOGY' : 'SINK_EXCHANGE_MISSING', text))
    }
    await agrees()
    return found
  } catch (thrown) {
    const error = toBridgeError(thrown)
    if (mode === 'declare') return problem(kind, error)
    if (error.code === 'SINK_PERMISSION_DENIED') return found
    // A session in mode verify does not compare; only another type is certainly not what was meant.
    if (!/x-queue-type|arg 'type'/.test(error.message)) return warning(kind, error.message, error.remedy)
    return problem(kind, error)
  }
}
