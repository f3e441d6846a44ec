/**
 * The public API, to run a bridge inside of another program: loadConfig, createLogger, startBridge, as the README shows.
 * `wal2rabbit init` comes first, as with the command. Errors are BridgeErrors; `errorTable` has a remedy for each code.
 * Everything else of the package is internal.
 */
export type { Status } from './admin/status.ts'
export { BridgeError, type ErrorAction, type ErrorCode, errorTable } from './base/errors.ts'
export { createLogger, type LogDestination, type Logger, type LoggerOptions, type LogLevel } from './base/log.ts'
export { version } from './base/version.ts'
export { type StartedBridge, startBridge } from './compose.ts'
export type { FlagSetting } from './config/flag-layer.ts'
export { type LoadedConfig, type LoadOptions, loadConfig } from './config/load.ts'
export type { Config } from './config/schema.ts'
export type { StopReport } from './supervisor.ts'
