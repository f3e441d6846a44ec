import type { Logger } from './base/log.ts'
import type { LoadedConfig } from './config/load.ts'
import { RetentionLoop } from './retention/retention-loop.ts'
import { passOverOutbox, retentionRule } from './setup/outbox-retention.ts'
import type { BridgeState } from './supervisor.ts'

/** Undefined with outbox.retention 0: then no row of the outbox table is ever touched. */
export function makeRetention(loaded: LoadedConfig, log: Logger, state: () => BridgeState): RetentionLoop | undefined {
  const { source, outbox } = loaded.config
  if (outbox.retention === 0) return undefined
  const rule = retentionRule(loaded.config)
  return new RetentionLoop({
    age: outbox.retention,
    // Both hold the slot. What settles is looked up in the database, so being wrong here would cost nothing but work.
    isOwner: () => state() === 'streaming' || state() === 'blocked',
    runPass: async (signal) => {
      const connection = { url: await loaded.sourceUrl(), connectTimeout: source.connectTimeout }
      return passOverOutbox(connection, rule, { dryRun: false, signal })
    },
    log,
  })
}
