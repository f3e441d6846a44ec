import { BridgeError } from '../base/errors.ts'
import { redactUrl, redactUrls } from '../base/secrets.ts'
import type { ConfigKey } from './keys.ts'

/** One thing wrong with the configuration; becomes one line. */
export interface Problem {
  /** `sink.heartbeat`, or for a name that is no key what was written. */
  readonly key: string
  /** `wal2rabbit.yaml:12`, `env WAL2RABBIT_SINK_HEARTBEAT`, `--set`, `not set`. */
  readonly origin: string
  /** What was given, already fit to be shown; absent where there is none or where it could be a secret. */
  readonly shown?: string
  /** Begins with "expected". */
  readonly expected: string
  readonly remedy?: string
}

const shownLengthMax = 80

/** A value as a problem may show it: never a secret, urls without their password, long ones cut. */
export function showValue(value: unknown, key: ConfigKey | undefined): string | undefined {
  if (value === undefined || key?.secret === 'plain') return undefined
  const text = key?.secret === 'url' ? showUrls(value) : redactUrls(JSON.stringify(value) ?? String(value))
  return text.length > shownLengthMax ? `${text.slice(0, shownLengthMax)}…` : text
}

/** A text without a scheme could be anything, a password too: it is shown as what it is, and not with what it holds. */
function showUrls(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(showUrls).join(', ')}]`
  if (typeof value === 'string' && /^\s*[a-z][a-z0-9+.-]*:\/\//i.test(value)) return JSON.stringify(redactUrl(value))
  return `(${value === null ? 'null' : typeof value === 'string' ? 'a text without a scheme' : typeof value}, not shown)`
}

/** `sink.heartbeat = "soon" (env WAL2RABBIT_SINK_HEARTBEAT): expected a duration …; <remedy>` */
export function formatProblem(problem: Problem): string {
  const value = problem.shown === undefined ? '' : ` = ${problem.shown}`
  const remedy = problem.remedy === undefined || problem.remedy === '' ? '' : `; ${problem.remedy}`
  return withoutControls(`${problem.key}${value} (${problem.origin}): ${problem.expected}${remedy}`)
}

/** What was written as a key is repeated: it must not break the line, nor rule the terminal that shows it. */
function withoutControls(line: string): string {
  return line.replace(/[\p{Cc}\u2028\u2029]/gu, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** All problems as one error, a line each. */
export function configError(problems: readonly Problem[]): BridgeError {
  const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`
  const lines = [...new Set(problems.map(formatProblem))].map((line) => `  ${line}`)
  return new BridgeError('CONFIG_INVALID', `${count} in the configuration:\n${lines.join('\n')}`)
}
