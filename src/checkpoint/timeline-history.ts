import { type Lsn, parseLsn } from '../base/lsn.ts'

/** A timeline that the server has left, and the LSN at which it did: WAL of that timeline beyond it is not ours. */
export interface TimelineSwitch {
  readonly timeline: number
  readonly switchLsn: Lsn
}

/**
 * Reads the content of a timeline history file, as `TIMELINE_HISTORY` returns it: a line for each ancestor with the
 * timeline, the switch LSN and a reason, separated by tabs. Throws a RangeError for a line of another form.
 * Source: PostgreSQL documentation, "Continuous Archiving", Timelines; readTimeLineHistory() in timeline.c.
 */
export function parseTimelineHistory(content: string): TimelineSwitch[] {
  const switches: TimelineSwitch[] = []
  for (const line of content.split('\n')) {
    const text = line.trim()
    if (text === '' || text.startsWith('#')) continue
    const match = /^(\d+)\s+(\S+)/.exec(text)
    if (match === null) {
      throw new RangeError(`not a line of a timeline history: ${JSON.stringify(text)} (expected timeline, LSN, reason)`)
    }
    switches.push({ timeline: Number(match[1]), switchLsn: parseLsn(match[2]!) })
  }
  return switches
}
