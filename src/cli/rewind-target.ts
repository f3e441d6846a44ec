import { makeFindEvent, outboxNames } from '../compose-replay.ts'
import type { LoadedConfig } from '../config/load.ts'
import type { Position } from '../replay/position.ts'
import { locateStart } from '../setup/locate-position.ts'
import { readReplayFacts } from '../setup/replay-facts.ts'
import { transactionOfEvent } from '../setup/replay-table.ts'
import type { LocateTarget } from '../setup/rewind.ts'

const silent = { info() {}, warn() {} }

/** Where the stream is to begin again, as `replay --from` understands it. `say`: a line while it takes long. */
export function locateTarget(loaded: LoadedConfig, position: Position, say: (text: string) => void): LocateTarget {
  return async (client) => {
    const { slot } = loaded.config.source
    const facts = await readReplayFacts(client, await loaded.sourceUrl(), slot)
    if (position.kind === 'event') say(`looking for event:${position.id} in the WAL`)
    const place = await locateStart(
      {
        client,
        facts,
        findEvent: makeFindEvent(loaded, facts, silent),
        transactionOf: (id) => transactionOfEvent(client, { slot, ...outboxNames(loaded) }, id),
      },
      position,
      '--to',
    )
    if (place.time !== undefined) say(`${place.time} is reached by a start somewhat before it`)
    if (place.before !== undefined) say(`${place.before} is not in the WAL: this starts some way before it`)
    return place
  }
}
