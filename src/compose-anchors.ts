import type { Logger } from './base/log.ts'
import type { LoadedConfig } from './config/load.ts'
import { AnchorKeeper } from './replay/anchor-keeper.ts'
import { connectAnchorServer } from './setup/anchor-server.ts'

/** Making and dropping a slot takes milliseconds; what takes longer hangs, and the WAL goes on growing meanwhile. */
const statementTimeout_ms = 5_000

/** Keeps the WAL that `replay.window` asks for, on a connection of its own: no store waits for an operation on slots. */
export function makeAnchorKeeper(loaded: LoadedConfig, log: Logger): AnchorKeeper {
  const { source, replay } = loaded.config
  return new AnchorKeeper({
    slot: source.slot,
    window: replay.window,
    connect: async () =>
      connectAnchorServer(
        {
          url: await loaded.sourceUrl(),
          applicationName: 'wal2rabbit anchors',
          statementTimeout: statementTimeout_ms,
          connectTimeout: source.connectTimeout,
        },
        source.slot,
      ),
    log,
  })
}
