/** A command of the guide, and what the guide says that it prints. */
export interface GuideBlock {
  /** `<!-- run: bug/watch, during bug/replay -->` */
  readonly name: string
  /** Run while the block of that name, which stands before it, goes on. */
  readonly during: string | undefined
  /** The output is some of the lines: others may stand between them. */
  readonly some: boolean
  /** As a shell takes it. */
  readonly command: string
  readonly output: string
}

/** The blocks of a page that are marked to be run, in their order. Throws where a mark or a block is not understood. */
export function guideBlocks(text: string): GuideBlock[] {
  const marks = text.match(/<!-- run:/g)?.length ?? 0
  const found = [...text.matchAll(/<!-- run: (\S+?)(?:, (some))?(?:, during (\S+))? -->\n```console\n([\s\S]*?)```/g)]
  if (found.length !== marks) throw new Error(`${marks} blocks are marked, ${found.length} of them are understood`)
  return found.map(([, name, some, during, body]) => {
    const [, command, output] = /^\$ ((?:.*\\\n)*.*)\n([\s\S]*)$/.exec(body!) ?? []
    if (command === undefined || output === undefined || /^\$ /m.test(output)) {
      throw new Error(`block ${name}: expected one command after "$ " and its output`)
    }
    return { name: name!, during, some: some !== undefined, command, output }
  })
}

/** Longer before shorter: a mark or an id may look like one of the others in part. */
const patterns: readonly [RegExp, string][] = [
  [/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, '<time>'],
  [/\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/g, '<event>'],
  [replayIdPattern(), '<replay>'],
  [/_anchor_\d{14}\b/g, '_anchor_<time>'],
  [/\b[0-9A-F]+\/[0-9A-F]{3,8}(#\d+)?/g, '<lsn>'],
  [/\S+@\S+/g, '<who>'],
  [/(?<![\w.-])\d[\d,]*(\.\d+)?/g, '<n>'],
]

/** Every few seconds, so as often as the machine is slow. */
const progress = /^<n> events?, <n>\/s, <n> %(, <n> (s|min|h) left)?(, <n> dead letters?)?(, at <lsn>)?$/

/** The ids that a replay is known by. */
export function replayIdPattern(): RegExp {
  return /\b\d{14}-[0-9a-f]{4}\b/g
}

/**
 * The lines of an output without what differs from run to run: numbers, LSNs, ids, times, the width of columns, how often
 * a line comes again, and progress. A line of progress in another form is a line like any other.
 */
export function shapeOf(output: string): string[] {
  const lines = output
    .replaceAll(/^\^C$/gm, '')
    .split('\n')
    .map((line) => patterns.reduce((text, [pattern, name]) => text.replaceAll(pattern, name), line))
    .map((line) => line.replaceAll(/\s+/g, ' ').trim())
    .filter((line) => line !== '' && !progress.test(line))
  return lines.filter((line, index) => line !== lines[index - 1])
}

/** The output of a command with the names of the guide in place of those of the test, longest first. */
export function renamed(text: string, names: ReadonlyMap<string, string>): string {
  const known = [...names.keys()].toSorted((a, b) => b.length - a.length)
  if (known.length === 0) return text
  const pattern = new RegExp(known.map((name) => name.replaceAll(/[.*+?^${}()|[\]\\/]/g, '\\$&')).join('|'), 'g')
  return text.replaceAll(pattern, (name) => names.get(name)!)
}
