import { createRequire } from 'node:module'
import { pino } from 'pino'
import { BridgeError } from './errors.ts'

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent'

/** A pino logger: `log.info({ lsn }, 'what happened')`; errors go under `err`. */
export type Logger = pino.Logger

export interface LoggerOptions {
  readonly level: LogLevel
  /** `auto`: pretty on a terminal, else JSON. */
  readonly format: 'auto' | 'json' | 'pretty'
  /** Replaces secrets; every text of every line passes it. */
  readonly scrub: (text: string) => string
  /** Where lines go; standard error when absent, as standard output belongs to the data of commands. */
  readonly destination?: LogDestination
}

export interface LogDestination {
  write(line: string): unknown
  readonly isTTY?: boolean
}

/**
 * One line a record: JSON with `time` (ISO 8601) and `level` as a word, or coloured text on a terminal. Written in this
 * process and synchronously: a worker thread would lose the last lines of a crash, which are those that matter.
 */
export function createLogger(options: LoggerOptions): Logger {
  const { scrub, destination = process.stderr } = options
  const withStack = options.level === 'trace' || options.level === 'debug'
  const onTerminal = destination.isTTY === true
  const usePretty = options.format === 'pretty' || (options.format === 'auto' && onTerminal)
  const prettify = usePretty
    ? loadPretty().prettyFactory({
        colorize: onTerminal && !process.env.NO_COLOR,
        translateTime: 'SYS:yyyy-mm-dd HH:MM:ss.l',
        // Our errors carry what is to be known as plain fields; pino-pretty would print them as a stack.
        errorLikeObjectKeys: [],
      })
    : undefined
  const write = (line: string): void => {
    const record = scrubLine(line, scrub)
    destination.write(prettify === undefined ? `${JSON.stringify(record)}\n` : prettify(record))
  }
  const serialize = (value: unknown) => describeError(value, withStack)
  return pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: serialize, error: serialize, reason: serialize, cause: serialize },
    },
    { write },
  )
}

/** Only where it is used: a bridge in production writes JSON, and keeps its memory for events. */
function loadPretty(): typeof import('pino-pretty') {
  return createRequire(import.meta.url)('pino-pretty')
}

/** Scrubs the texts of a line and not the line itself: a secret such as `1` or `true` must not break the JSON. */
function scrubLine(line: string, scrub: (text: string) => string): Record<string, unknown> {
  const { level, time, ...rest } = JSON.parse(line) as Record<string, unknown>
  return { level, time, ...(scrubTexts(rest, scrub) as Record<string, unknown>) }
}

function scrubTexts(value: unknown, scrub: (text: string) => string): unknown {
  if (typeof value === 'string') return scrub(value)
  if (Array.isArray(value)) return value.map((item) => scrubTexts(item, scrub))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [scrub(key), scrubTexts(item, scrub)]))
}

/**
 * An error as plain fields: `{ code, message, remedy?, causes?, stack? }`. The stack only where asked for: for the
 * operator code, message and remedy say all; anything that is no error passes unchanged.
 */
export function describeError(error: unknown, withStack: boolean): unknown {
  if (!(error instanceof Error)) return error
  const causes = causeMessages(error)
  return {
    code: error instanceof BridgeError ? error.code : codeOf(error),
    message: messageOf(error),
    ...(error instanceof BridgeError && { remedy: error.remedy }),
    ...(causes.length > 0 && { causes }),
    ...(withStack && { stack: error.stack }),
  }
}

/** The messages of an error's causes, nearest first. */
export function causeMessages(error: Error): string[] {
  const seen = new Set<unknown>([error])
  const messages: string[] = []
  for (let cause = error.cause; cause !== undefined && cause !== null && !seen.has(cause); ) {
    seen.add(cause)
    messages.push(cause instanceof Error ? messageOf(cause) : String(cause))
    cause = cause instanceof Error ? cause.cause : undefined
  }
  return messages
}

function codeOf(error: Error): string {
  const code = (error as { code?: unknown }).code
  return typeof code === 'string' ? code : error.name
}

/** Node's AggregateError of a failed connect (one error an address) has no message of its own. */
function messageOf(error: Error): string {
  if (error.message !== '') return error.message
  if (error instanceof AggregateError && error.errors.length > 0) {
    return error.errors.map((one) => (one instanceof Error ? messageOf(one) : String(one))).join('; ')
  }
  return codeOf(error)
}
