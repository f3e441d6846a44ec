import { BridgeError } from '../base/errors.ts'
import type { RoutedEvent } from '../routing/routing.ts'

const filterKeys = ['type', 'aggregate_type', 'aggregate_id', 'id'] as const

export type FilterKey = (typeof filterKeys)[number]

/** One `--where key=pattern`; `*` stands for any run of characters, `?` for one. */
export interface FilterTerm {
  readonly key: FilterKey
  readonly pattern: string
}

/** Reads `key=pattern`. Throws a BridgeError `USAGE`. */
export function parseFilterTerm(text: string): FilterTerm {
  const equals = text.indexOf('=')
  const key = filterKeys.find((known) => known === text.slice(0, Math.max(0, equals)))
  if (key !== undefined && equals < text.length - 1) return { key, pattern: text.slice(equals + 1) }
  throw new BridgeError(
    'USAGE',
    `--where is ${JSON.stringify(text)}, expected one of ${filterKeys.join(', ')}, then = and a pattern such as Order*`,
  )
}

type Matcher = (text: string) => boolean

/**
 * Terms of one key are alternatives, different keys must all match: `type=A`, `type=B`, `aggregate_type=order` means (A or
 * B) of an order. Without terms everything matches. A column that is NULL counts as empty.
 */
export function compileFilter(
  terms: readonly FilterTerm[],
  compileGlob: (pattern: string) => Matcher,
): (event: RoutedEvent) => boolean {
  const groups = filterKeys
    .map((key) => ({
      key,
      matchers: terms.filter((term) => term.key === key).map(({ pattern }) => compileGlob(pattern)),
    }))
    .filter(({ matchers }) => matchers.length > 0)
  return (event) =>
    groups.every(({ key, matchers }) => {
      const text = columnOf(event, key) ?? ''
      return matchers.some((matches) => matches(text))
    })
}

function columnOf(event: RoutedEvent, key: FilterKey): string | null {
  switch (key) {
    case 'type':
      return event.type
    case 'aggregate_type':
      return event.aggregateType
    case 'aggregate_id':
      return event.aggregateId
    case 'id':
      return event.eventId
  }
}
