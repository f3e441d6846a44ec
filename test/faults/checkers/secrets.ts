import { type Violation, violationOf } from './violation.ts'

/** Something that people or machines can read: a log, a status, metrics, an error. */
export interface Output {
  readonly where: string
  readonly text: string
}

/** I11: no secret in any output. A secret is named by its place in the list, not shown. */
export function checkSecrets(outputs: readonly Output[], secrets: readonly string[]): Violation[] {
  const leaks = outputs.flatMap(({ where, text }) =>
    secrets.flatMap((secret, n) => (secret !== '' && text.includes(secret) ? [`secret ${n + 1} in ${where}`] : [])),
  )
  return violationOf('I11', 'leaked', leaks)
}
