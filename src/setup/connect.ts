import { Socket } from 'node:net'
import pg from 'pg'
import { BridgeError } from '../base/errors.ts'
import { clientConfigFromUrl, describePostgresUrl } from '../base/postgres-url.ts'
import { toSourceError } from '../source/failure.ts'

/** Milliseconds. */
export const defaultConnectTimeout = 10_000

export interface ControlOptions {
  readonly url: string
  readonly applicationName: string
  /** Milliseconds; 0 waits for ever. */
  readonly statementTimeout: number
  /** Milliseconds until connecting is given up; connect_timeout in the url comes first. */
  readonly connectTimeout?: number
  /** Called at most once, when an established connection breaks without endControl(). */
  readonly onLost?: (error: BridgeError) => void
}

/** Milliseconds beyond the server's statement timeout after which an answer counts as lost. */
const answerMargin = 2000

/** The socket under each client, to cut what does not end by itself, and whether its end is news. */
const connections = new WeakMap<pg.Client, { readonly socket: Socket; watched: boolean }>()

/**
 * An ordinary connection for bookkeeping and inspection, kept alive by TCP, with commits that are durable before they
 * are answered. Rejects with a BridgeError. End it with endControl().
 */
export async function connectControl(options: ControlOptions): Promise<pg.Client> {
  const place = describePostgresUrl(options.url)
  const socket = new Socket()
  const client = new pg.Client({
    connectionTimeoutMillis: options.connectTimeout ?? defaultConnectTimeout,
    ...clientConfigFromUrl(options.url),
    application_name: options.applicationName,
    statement_timeout: options.statementTimeout,
    // The server's timeout ends no query whose answer is lost on the way, and TCP takes a quarter of an hour to notice.
    ...(options.statementTimeout > 0 && { query_timeout: options.statementTimeout + answerMargin }),
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    stream: () => socket,
  })
  const connection = { socket, watched: false }
  connections.set(client, connection)
  // Without a listener a lost connection would end the process; who waits for an answer gets the error as well.
  client.on('error', (error) => {
    if (!connection.watched) return
    connection.watched = false
    options.onLost?.(toSourceError(error, { doing: 'the control connection' }))
  })
  try {
    await client.connect()
    // With synchronous_commit off a crash could take back a stored LSN that the slot has already been told. The driver
    // does not send a timeout of 0, and the role may have another as its default; likewise the isolation level, on which
    // the release of parked aggregates relies.
    await client.query({
      text: `SELECT set_config('statement_timeout', $1, false), set_config('synchronous_commit',
        CASE current_setting('synchronous_commit') WHEN 'off' THEN 'local' ELSE current_setting('synchronous_commit') END,
        false), set_config('default_transaction_isolation', 'read committed', false)`,
      values: [String(options.statementTimeout)],
    })
    connection.watched = true
  } catch (error) {
    socket.destroy()
    throw connectFailure(error, place)
  }
  return client
}

/**
 * Before there is a connection none can be lost: whoever hangs up on us, or answers in another protocol, is likely no
 * PostgreSQL at all.
 */
function connectFailure(error: unknown, place: string): BridgeError {
  const failure = toSourceError(error, { doing: `connecting to PostgreSQL at ${place}` })
  const foreign = /received invalid response/.test(failure.message)
  if (failure.code !== 'SOURCE_CONNECTION_LOST' && !foreign) return failure
  const text = `${failure.message}; expected a PostgreSQL server there`
  return new BridgeError('SOURCE_UNREACHABLE', text, { cause: error })
}

/** Ends the connection; cuts it when the server does not answer within `bound` milliseconds. Never rejects. */
export async function endControl(client: pg.Client, bound = 2000): Promise<void> {
  const connection = connections.get(client)
  if (connection !== undefined) connection.watched = false
  const socket = connection?.socket
  const timer = setTimeout(() => socket?.destroy(), bound)
  try {
    await client.end()
  } catch {
    // A connection that is already broken is as good as ended.
    socket?.destroy()
  } finally {
    clearTimeout(timer)
  }
}

/** Runs `work` on a control connection of its own. Errors of the driver come out as BridgeErrors that say `doing`. */
export async function withControl<T>(
  options: ControlOptions,
  doing: string,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = await connectControl(options)
  try {
    return await attempt(doing, () => work(client))
  } finally {
    await endControl(client)
  }
}

/** Gives errors of the driver a code and says what was being done. */
export async function attempt<T>(doing: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw toSourceError(error, { doing })
  }
}
