/**
 * JSON in ASCII alone, null for undefined: what is not ASCII is escaped. So a database of any encoding can hold it, and
 * so can PostgreSQL's type json every NUL and lone surrogate. Own properties named `__proto__` stay what they are.
 */
export function asciiJson(value: unknown): string {
  return (JSON.stringify(value) ?? 'null').replace(/[\u0080-\uffff]/g, escapeUnit)
}

function escapeUnit(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`
}
