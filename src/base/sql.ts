/** Quotes an SQL identifier: `a"b` becomes `"a""b"`. Source: PostgreSQL documentation, "Lexical Structure", 4.1.1. */
export function quoteIdent(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

/** Quotes an SQL string literal for commands that take no parameters (replication commands, DDL). */
export function quoteLiteral(text: string): string {
  const quoted = `'${text.replaceAll("'", "''")}'`
  return text.includes('\\') ? ` E${quoted.replaceAll('\\', '\\\\')}` : quoted
}

/** A schema-qualified table name, split and quoted. */
export interface TableName {
  readonly schema: string
  readonly name: string
}

/**
 * Splits `schema.table`; either part may be double-quoted (`"Sales"."Out.box"`). Unquoted parts fold to lower case, as
 * in SQL; the schema defaults to `public`. Throws a RangeError for anything else.
 */
export function parseTableName(text: string): TableName {
  const part = String.raw`("(?:[^"]|"")+"|[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*)`
  const match = new RegExp(`^(?:${part}\\.)?${part}$`).exec(text)
  if (match === null) throw new RangeError(`not a table name: ${JSON.stringify(text)} (expected schema.table)`)
  const plain = (raw: string) => (raw.startsWith('"') ? raw.slice(1, -1).replaceAll('""', '"') : raw.toLowerCase())
  return { schema: match[1] === undefined ? 'public' : plain(match[1]), name: plain(match[2]!) }
}

export function quoteTable(table: TableName): string {
  return `${quoteIdent(table.schema)}.${quoteIdent(table.name)}`
}
