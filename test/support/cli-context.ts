import { redactUrls } from '../../src/base/secrets.ts'
import type { CliContext } from '../../src/cli/context.ts'

/** The process around a command that prints to these streams and changes nothing of the process that it runs in. */
export function contextOn(
  stdout: CliContext['stdout'],
  stderr: CliContext['stderr'] = stdout,
  env: CliContext['env'] = {},
): CliContext {
  return { env, cwd: process.cwd(), stdout, stderr, scrub: redactUrls, log: undefined, tune: () => undefined }
}
