import type { PostgresClient } from '../base/postgres-client.ts'

export interface LockWait {
  /** Tells the operator who is waited for. */
  readonly notice: (text: string) => void
  /** Milliseconds until that is told; default 3 s. */
  readonly noticeAfter?: number
}

/** Milliseconds. */
const noticeAfter_default = 3000
const tryInterval = 100

/**
 * Waits until no other `init` or `rewind` is at work on this slot, and holds the lock until the connection ends. A command
 * that was killed holds it until the server has ended its last statement, so what is looked at after this does not change
 * any more. Errors are those of the client.
 */
export async function takeSlotLock(client: PostgresClient, slot: string, wait: LockWait): Promise<void> {
  await take(client, { name: `wal2rabbit setup of slot ${slot}`, of: `slot ${slot}` }, wait)
}

/**
 * Does `work` while no other `init` of this database is at what bridges share: schema, table and publication. To be
 * taken after the lock of a slot, and for moments only. Errors are those of the client and of `work`.
 */
export async function withSharedLock<T>(client: PostgresClient, wait: LockWait, work: () => Promise<T>): Promise<T> {
  const lock = { name: 'wal2rabbit setup', of: 'the schema wal2rabbit' }
  await take(client, lock, wait)
  const result = await work()
  // After a failure the connection ends, and the lock with it.
  await client.query({ text: `SELECT pg_advisory_unlock(${keySql})`, values: [lock.name] })
  return result
}

interface SetupLock {
  /** Of which its key is made. */
  readonly name: string
  /** What it is there for, for people. */
  readonly of: string
}

const keySql = 'hashtextextended($1, 0)'

/** A bigint key shows in pg_locks as its two halves. */
const holderSql = `SELECT l.pid, a.application_name AS name FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
  WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (l.classid::bigint << 32 | l.objid::bigint) = ${keySql}`

/** Tried again and again, so that this connection can ask meanwhile who holds it. */
async function take(client: PostgresClient, lock: SetupLock, wait: LockWait): Promise<void> {
  const due = performance.now() + (wait.noticeAfter ?? noticeAfter_default)
  const values = [lock.name]
  for (let isSaid = false; ; ) {
    const { rows } = await client.query({ text: `SELECT pg_try_advisory_lock(${keySql}) AS taken`, values })
    if (rows[0]!.taken === true) return
    if (!isSaid && performance.now() >= due) {
      const holder = (await client.query({ text: holderSql, values })).rows[0]
      if (holder !== undefined) {
        wait.notice(`waits for "${holder.name}" (server pid ${holder.pid}), which is at work on ${lock.of}`)
        isSaid = true
      }
    }
    await new Promise((resolve) => setTimeout(resolve, tryInterval))
  }
}
