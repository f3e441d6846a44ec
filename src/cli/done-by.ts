import { hostname, userInfo } from 'node:os'

/** Who runs this command, for the record: `user@host`. */
export function doneBy(): string {
  try {
    return `${userInfo().username}@${hostname()}`
  } catch {
    // A container may run under a number that has no name.
    return `uid ${process.getuid?.() ?? 'unknown'}@${hostname()}`
  }
}
