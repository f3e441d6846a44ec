import { execFileSync } from 'node:child_process'

export interface UnixUser {
  readonly name: string
  readonly uid: number
  readonly gid: number
}

/** PostgreSQL refuses to run as root: then its user is `postgres` where there is one, else `nobody`. */
export function postgresUser(): UnixUser | undefined {
  if (process.getuid?.() !== 0) return undefined
  const user = lookUp('postgres') ?? lookUp('nobody')
  if (user === undefined)
    throw new Error('running as root without a user postgres or nobody to run PostgreSQL as: create one')
  return user
}

function lookUp(name: string): UnixUser | undefined {
  try {
    const number = (flag: string): number =>
      Number(execFileSync('id', [flag, name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }))
    return { name, uid: number('-u'), gid: number('-g') }
  } catch {
    // id fails for a user that does not exist: that is the answer.
    return undefined
  }
}
