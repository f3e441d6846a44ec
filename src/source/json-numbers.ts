const quote = 0x22
const backslash = 0x5c

/**
 * Puts every number of a JSON text in quotes, digit for digit, so that JSON.parse hands it on as text. Strings are left
 * alone. A scan and no regular expression: the engine's stack is too small for one over a payload of megabytes.
 */
export function quoteNumbers(json: string): string {
  const parts: string[] = []
  let copied = 0
  for (let at = 0; at < json.length; at++) {
    const code = json.charCodeAt(at)
    if (code === quote) at = stringEnd(json, at)
    else if (startsNumber(code)) {
      const end = numberEnd(json, at)
      parts.push(json.slice(copied, at), '"', json.slice(at, end), '"')
      copied = end
      at = end - 1
    }
  }
  parts.push(json.slice(copied))
  return parts.join('')
}

/** The index of the quote that closes the string which opens at `start`. */
function stringEnd(json: string, start: number): number {
  for (let at = start + 1; at < json.length; at++) {
    const code = json.charCodeAt(at)
    if (code === backslash) at++
    else if (code === quote) return at
  }
  return json.length
}

function startsNumber(code: number): boolean {
  return (code >= 0x30 && code <= 0x39) || code === 0x2d
}

function numberEnd(json: string, start: number): number {
  let at = start + 1
  while (at < json.length && '0123456789.eE+-'.includes(json[at]!)) at++
  return at
}
