import { constants, getPriority, setPriority } from 'node:os'
import { setFlagsFromString } from 'node:v8'
import type { Logger } from '../base/log.ts'
import { redactUrls } from '../base/secrets.ts'

/** Exit codes, the same for every command. */
export const exitCodes = { done: 0, failed: 1, usage: 2, halted: 3 } as const

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes]

interface Stream {
  write(text: string): unknown
  readonly isTTY?: boolean
  /** Of a terminal. */
  readonly columns?: number
}

/** The process around a command: where it reads from and prints to. */
export interface CliContext {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
  /** Data only, so that it can be piped; all that is said about the work goes to `stderr`. */
  readonly stdout: Stream
  readonly stderr: Stream
  /** Replaces secrets; knows those of the configuration as soon as that is loaded. */
  scrub: (text: string) => string
  /** The log of the running bridge; crashes go there instead of plain text. */
  log: Logger | undefined
  /** For the whole process, by a command that runs for long. */
  readonly tune: (settings: ProcessSettings) => void
}

export interface ProcessSettings {
  /** Keeps the process small, for some CPU: npm run bench -- --memory. */
  readonly smallHeap: boolean
  /** Others on this machine come first. */
  readonly givesWay: boolean
}

export function processContext(): CliContext {
  const { env, stdout, stderr } = process
  return { env, cwd: process.cwd(), stdout, stderr, scrub: redactUrls, log: undefined, tune: tuneProcess }
}

function tuneProcess({ smallHeap, givesWay }: ProcessSettings): void {
  if (smallHeap) setFlagsFromString('--optimize-for-size')
  const { PRIORITY_BELOW_NORMAL } = constants.priority
  // Never up, which is not allowed: it may run under nice.
  if (givesWay && getPriority() < PRIORITY_BELOW_NORMAL) setPriority(PRIORITY_BELOW_NORMAL)
}

/** Prints a line of data. */
export function printData(context: CliContext, text: string): void {
  context.stdout.write(`${context.scrub(text)}\n`)
}

/** Prints a line about the work: progress, a hint, an empty result. */
export function printNote(context: CliContext, text: string): void {
  context.stderr.write(`${context.scrub(text)}\n`)
}

/** Prints data as JSON; LSNs and other 64-bit integers as text. */
export function printJson(context: CliContext, value: unknown): void {
  const text = JSON.stringify(value, (_key, item) => (typeof item === 'bigint' ? item.toString() : item), 2)
  printData(context, text)
}

const colourCodes = { red: 31, green: 32, yellow: 33, bold: 1 } as const

/** Colours a text where it goes to a terminal; NO_COLOR turns it off (https://no-color.org). */
export function colour(context: CliContext, stream: Stream, name: keyof typeof colourCodes, text: string): string {
  const wanted = stream.isTTY === true && (context.env.NO_COLOR ?? '') === ''
  return wanted ? `\u001b[${colourCodes[name]}m${text}\u001b[0m` : text
}
