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

const electQuorums = `lists:foreach(fun(Q) -> case amqqueue:get_type(Q) of
  rabbit_quorum_queue ->
    Member = amqqueue:get_pid(Q),
    case ra:members(Member, 2000) of
      {ok, _, _} -> ok;
      _ -> ra:trigger_election(Member), {ok, _, _} = ra:members(Member, 30000)
    end;
  _ -> ok end end, rabbit_amqqueue:list()).`

/**
 * Waits for the elections of the quorum queues, and starts those that a crash prevented: until then the node takes
 * connections, but never answers a basic.get, basic.consume or publish for such a queue.
 */
export async function untilQuorumsElected(ctl: (...args: string[]) => Promise<string>): Promise<void> {
  await ctl('eval', electQuorums)
}

/**
 * Saves which quorum queues exist. A node killed within about 5 s of a queue's declaration otherwise forgets its log:
 * the confirmed messages are lost and no leader is ever elected (seen with 3.10; names.dets is written lazily). That is
 * the broker's own boundary, and a crash test would trip over it at random.
 */
export async function saveQuorumNames(ctl: (...args: string[]) => Promise<string>): Promise<void> {
  await ctl('--timeout', '5', 'eval', '[dets:sync(Table) || Table <- dets:all()].')
}
