import { setTimeout as delay } from 'node:timers/promises'
import { connect } from 'amqplib'

/** The version that the broker names in its greeting. */
export async function brokerVersion(url: string): Promise<string> {
  const connection = await connect(url, { timeout: 5_000 })
  const version: unknown = connection.connection.serverProperties.version
  await connection.close()
  return String(version)
}

/** Whether the broker opens an AMQP connection for the url's user. */
export async function brokerAnswers(url: string): Promise<boolean> {
  try {
    const connection = await connect(url, { timeout: 5_000 })
    await connection.close()
    return true
  } catch {
    // Refused, or still booting: the caller asks again and has the bound.
    return false
  }
}

/** Polls until the broker opens a connection, at most `bound` ms. */
export async function untilBrokerAnswers(url: string, bound: number): Promise<void> {
  const deadline = Date.now() + bound
  while (!(await brokerAnswers(url))) {
    if (Date.now() > deadline) throw new Error(`RabbitMQ opened no connection within ${bound} ms`)
    await delay(100)
  }
}

const membersOfQuorums = `lists:foreach(fun(Q) -> case amqqueue:get_type(Q) of
  rabbit_quorum_queue -> {ok, _, _} = ra:members(amqqueue:get_pid(Q), 30000);
  _ -> ok end end, rabbit_amqqueue:list()).`

/**
 * Waits for the elections of the quorum queues. After a crash the broker takes connections before them, and then a
 * basic.get or basic.consume on such a queue is never answered (seen with 3.10).
 */
export async function untilQuorumsElected(ctl: (...args: string[]) => Promise<string>): Promise<void> {
  await ctl('eval', membersOfQuorums)
}
