/**
 * Compiles a pattern: `*` stands for any run of characters, `?` for one, everything else for itself. The matcher works
 * on code points and in time of pattern × text, so no pattern can stall the stream (a regular expression with several
 * `.*` could, on a long aggregate type).
 */
export function compileGlob(pattern: string): (text: string) => boolean {
  if (!/[*?]/.test(pattern)) return (text) => text === pattern
  if (/^\*+$/.test(pattern)) return () => true
  const symbols = Array.from(pattern)
  return (text) => matches(symbols, Array.from(text))
}

function matches(pattern: readonly string[], text: readonly string[]): boolean {
  let inPattern = 0
  let inText = 0
  let star = -1 // the last `*` seen, and how far into the text it reaches
  let starText = 0
  while (inText < text.length) {
    const symbol = pattern[inPattern]
    if (symbol === '*') {
      star = inPattern++
      starText = inText
    } else if (symbol === '?' || symbol === text[inText]) {
      inPattern++
      inText++
    } else if (star !== -1) {
      inPattern = star + 1
      inText = ++starText
    } else {
      return false
    }
  }
  while (pattern[inPattern] === '*') inPattern++
  return inPattern === pattern.length
}
