import type { Problem } from './problems.ts'
import type { Config } from './schema.ts'
import { formatDuration } from './units.ts'

/** What is wrong between keys that are each fine by themselves: settings that would have no effect, or a harmful one. */
export function relationProblems(config: Config, originOf: (path: string) => string): Problem[] {
  const problems: Problem[] = []
  const add = (key: string, shown: string | undefined, expected: string, remedy?: string): void => {
    problems.push({
      key,
      origin: originOf(key),
      expected,
      ...(shown !== undefined && { shown }),
      ...(remedy !== undefined && { remedy }),
    })
  }
  const { sink, delivery, deadLetter } = config

  const { verify, ...files } = sink.tls
  const plainText = sink.url.some((url) => url.startsWith('amqp://'))
  for (const [name, value] of Object.entries({ ...files, verify: verify ? undefined : verify })) {
    if (value === undefined || !plainText) continue
    add(
      `sink.tls.${name}`,
      undefined,
      'expected amqps in sink.url where sink.tls is set',
      'with amqp nothing is encrypted',
    )
  }
  if ((files.cert === undefined) !== (files.key === undefined)) {
    const [given, missing] = files.cert === undefined ? ['key', 'cert'] : ['cert', 'key']
    add(`sink.tls.${given}`, undefined, `expected sink.tls.${missing} as well`, 'a client certificate needs its key')
  }

  if (deadLetter.scope === 'aggregate' && delivery.order !== 'aggregate') {
    add(
      'deadLetter.scope',
      deadLetter.scope,
      'expected delivery.order: aggregate as well',
      'in commit order later events of the aggregate may be on their way before the dead letter is one',
    )
  }

  const { initialDelay, maxDelay } = delivery.retry
  if (initialDelay > maxDelay) {
    const most = formatDuration(maxDelay)
    add(
      'delivery.retry.initialDelay',
      formatDuration(initialDelay),
      `expected at most delivery.retry.maxDelay (${most})`,
    )
  }
  return problems
}
