/** A sample of the text format: `name{label="value"}` as written, and its number. */
export type Samples = ReadonlyMap<string, number>

const comment = /^# (?:HELP [a-zA-Z_:][\w:]* .+|TYPE [a-zA-Z_:][\w:]* (?:counter|gauge|histogram|summary|untyped))$/
const label = String.raw`[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*"`
// prom-client writes Nan where the format says NaN; Prometheus reads either
const sample = new RegExp(
  String.raw`^([a-zA-Z_:][\w:]*(?:\{${label}(?:,${label})*\})?) (Na[nN]|[+-]Inf|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)$`,
)

/** Reads the text format 0.0.4 strictly: an unknown line, a repeated series or a name without TYPE is an error. */
export function parseExposition(text: string): Samples {
  const samples = new Map<string, number>()
  const typed = new Set<string>()
  if (!text.endsWith('\n')) throw new Error('the last line must end in a line feed')
  for (const line of text.split('\n')) {
    if (line === '') continue
    if (line.startsWith('#')) {
      if (!comment.test(line)) throw new Error(`not a comment of the format: ${line}`)
      if (line.startsWith('# TYPE ')) typed.add(line.split(' ')[2]!)
      continue
    }
    const match = sample.exec(line)
    if (match === null) throw new Error(`not a sample: ${line}`)
    const series = match[1]!
    const name = series.replace(/\{.*/, '')
    if (!typed.has(name) && !typed.has(name.replace(/_(bucket|sum|count)$/, ''))) throw new Error(`no TYPE of ${name}`)
    if (samples.has(series)) throw new Error(`twice in the page: ${series}`)
    samples.set(series, Number(match[2]!.replace('Inf', 'Infinity')))
  }
  return samples
}
