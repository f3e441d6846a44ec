import { BridgeError } from '../base/errors.ts'

/** The names that a template may hold; each is one column of the row. */
export const templateNames = ['aggregate_type', 'aggregate_id', 'type', 'id'] as const

export type TemplateName = (typeof templateNames)[number]

export type TemplateValues = Readonly<Record<TemplateName, string>>

export interface Template {
  readonly source: string
  readonly names: ReadonlySet<TemplateName>
  render(values: TemplateValues): string
}

type Part = { readonly literal: string } | { readonly name: TemplateName }

const tokenPattern = /\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+/gu

/**
 * Compiles a routing key template such as `{aggregate_type}.{type}`; `{{` and `}}` stand for braces. Throws a
 * BridgeError `CONFIG_INVALID` with the 1-based position for an unknown name or an unbalanced brace.
 */
export function compileTemplate(source: string): Template {
  const parts: Part[] = []
  for (const token of source.matchAll(tokenPattern)) parts.push(partOf(source, token[0], token[1], token.index + 1))
  const names = new Set(parts.flatMap((part) => ('name' in part ? [part.name] : [])))
  const render = (values: TemplateValues) => {
    let text = ''
    for (const part of parts) text += 'name' in part ? values[part.name] : part.literal
    return text
  }
  return { source, names, render }
}

function partOf(source: string, token: string, name: string | undefined, position: number): Part {
  if (token === '{{' || token === '}}') return { literal: token.charAt(0) }
  if (name !== undefined) {
    const known = templateNames.find((candidate) => candidate === name)
    if (known === undefined) throw unknownName(source, name, position)
    return { name: known }
  }
  if (token === '{' || token === '}') {
    throw new BridgeError(
      'CONFIG_INVALID',
      `routing key template ${JSON.stringify(source)}: unbalanced ${token} at position ${position}; write ${token}${token} for a literal brace`,
    )
  }
  return { literal: token }
}

function unknownName(source: string, name: string, position: number): BridgeError {
  const distance = (candidate: string) => editDistance(candidate, name.toLowerCase())
  const nearest = [...templateNames].sort((a, b) => distance(a) - distance(b))[0]!
  const near = distance(nearest) <= Math.max(1, name.length / 3)
  const guess = near ? `; did you mean {${nearest}}?` : ''
  return new BridgeError(
    'CONFIG_INVALID',
    `routing key template ${JSON.stringify(source)}: unknown name {${name}} at position ${position}, known are ${templateNames.join(', ')}${guess}`,
  )
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (const [above, letter] of Array.from(a).entries()) {
    const next = [above + 1]
    for (let column = 0; column < b.length; column++) {
      const replaced = row[column]! + (b[column] === letter ? 0 : 1)
      next.push(Math.min(replaced, row[column + 1]! + 1, next[column]! + 1))
    }
    row = next
  }
  return row[b.length]!
}
