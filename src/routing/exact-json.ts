/** JSON whose integers outside of ±(2^53 - 1) but within 64 bits are kept exact, as bigint. */
export type ExactJson = string | number | boolean | null | bigint | ExactJson[] | { [name: string]: ExactJson }

const int64Min = -(2n ** 63n)
const int64Max = 2n ** 63n - 1n

// A number outside of strings follows one of these characters; inside a string a match costs time, never correctness.
const longIntegerPattern = /[[:,\s]-?\d{16}/

// Nothing longer fits 64 bits, and BigInt takes its time over a million digits.
const int64Pattern = /^-?\d{16,19}$/

/**
 * JSON.parse, but exact for 64-bit integers (ids of that size are common, and a double would change them). Throws the
 * same SyntaxError. The exact path is taken only where 16 digits in a row occur: nothing shorter can be unsafe.
 */
export function parseExactJson(text: string): ExactJson {
  const value: ExactJson = JSON.parse(text)
  return longIntegerPattern.test(text) ? new Reader(text).value() : value
}

/** Reads text that JSON.parse has accepted already, so there is no wrong input to tell. */
class Reader {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  value(): ExactJson {
    switch (this.#next()) {
      case '{':
        return this.#object()
      case '[':
        return this.#array()
      case '"':
        return this.#string()
      default:
        return this.#literal()
    }
  }

  #object(): ExactJson {
    const fields: [string, ExactJson][] = []
    this.#at++
    while (this.#next() !== '}') {
      if (this.#text[this.#at] === ',') this.#at++
      this.#next()
      const name = this.#string()
      this.#next()
      this.#at++ // the colon
      fields.push([name, this.value()])
    }
    this.#at++
    return Object.fromEntries(fields) // defines own properties, so that `__proto__` is a name like any other
  }

  #array(): ExactJson {
    const items: ExactJson[] = []
    this.#at++
    while (this.#next() !== ']') {
      if (this.#text[this.#at] === ',') this.#at++
      items.push(this.value())
    }
    this.#at++
    return items
  }

  #string(): string {
    const start = this.#at++
    while (this.#text[this.#at] !== '"') this.#at += this.#text[this.#at] === '\\' ? 2 : 1
    this.#at++
    return JSON.parse(this.#text.slice(start, this.#at))
  }

  #literal(): ExactJson {
    const start = this.#at
    while (this.#at < this.#text.length && !',]} \n\r\t'.includes(this.#text[this.#at]!)) this.#at++
    const token = this.#text.slice(start, this.#at)
    return int64Pattern.test(token) ? exactInteger(token) : JSON.parse(token)
  }

  #next(): string | undefined {
    while (' \n\r\t'.includes(this.#text[this.#at] ?? '-')) this.#at++
    return this.#text[this.#at]
  }
}

function exactInteger(token: string): number | bigint {
  const exact = BigInt(token)
  if (Number.isSafeInteger(Number(exact)) || exact < int64Min || exact > int64Max) return Number(exact)
  return exact
}
