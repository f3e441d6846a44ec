/** What stands in the place of a secret. */
const mask = '***'

/**
 * Plain values shorter than this are left to redactUrls alone: replacing each "a" would leave nothing readable, and who
 * can see the text could guess such a password anyway.
 */
const shortestPlainSecret = 3

const secretParameter = /([?&][^=&\s]*(?:pass|secret|token)[^=&\s]*=)[^&\s"'<>]*/gi

/**
 * The url with its password (and any query parameter named after one) masked: `postgres://app:***@db/shop`. Works on
 * text and not on a parsed URL, so that a url that is wrong, as with an unescaped `@` or `/` in its password, shows
 * nothing either. Takes several urls separated by commas, too.
 */
export function redactUrl(url: string): string {
  return url
    .split(/,(?=[a-z][a-z0-9+.-]*:\/\/)/i)
    .map((one) => redactParameters(one.replace(/^(\s*[a-z][a-z0-9+.-]*:\/\/)([\s\S]*)@/i, redactUserInfo)))
    .join(',')
}

/** Masks the password of every url that occurs in a text. */
export function redactUrls(text: string): string {
  if (!text.includes('://')) return text
  const separated = text.split(/(,)(?=[a-z][a-z0-9+.-]*:\/\/)/i)
  return separated
    .map((part) => redactParameters(part.replace(/([a-z][a-z0-9+.-]*:\/\/)([^\s"'<>]*)@/gi, redactUserInfo)))
    .join('')
}

function redactUserInfo(_match: string, scheme: string, userInfo: string): string {
  const colon = userInfo.indexOf(':')
  return colon === -1 ? `${scheme}${userInfo}@` : `${scheme}${userInfo.slice(0, colon)}:${mask}@`
}

function redactParameters(url: string): string {
  return url.replace(secretParameter, `$1${mask}`)
}

/** Replaces secrets in a text; `add` makes one more known, as after a password was rotated. */
export interface Scrub {
  (text: string): string
  add(secret: string): void
}

/**
 * Makes the function that every log line, error, status and metric passes. Each secret is a plain value (a pass phrase)
 * or a url, of which its passwords count. Replaced are: the value as it stands, its URI-encoded and decoded forms, its
 * form inside JSON, and the password of any url at all.
 */
export function createScrubber(secrets: readonly string[]): Scrub {
  const known = new Set<string>()
  let ordered: string[] = []
  const add = (secret: string): void => {
    for (const value of secret.includes('://') ? passwordsOf(secret) : [secret]) {
      for (const form of formsOf(value)) if (form.length >= shortestPlainSecret) known.add(form)
    }
    // Longest first: a secret that holds another one goes as a whole.
    ordered = [...known].sort((a, b) => b.length - a.length)
  }
  for (const secret of secrets) add(secret)
  const scrub = (text: string): string => {
    let clean = redactUrls(text)
    for (const secret of ordered) if (clean.includes(secret)) clean = clean.replaceAll(secret, mask)
    return clean
  }
  return Object.assign(scrub, { add })
}

function passwordsOf(urls: string): string[] {
  const passwords: string[] = []
  for (const url of urls.split(/,(?=[a-z][a-z0-9+.-]*:\/\/)/i)) {
    const userInfo = /^\s*[a-z][a-z0-9+.-]*:\/\/([\s\S]*)@/i.exec(url)?.[1]
    if (userInfo?.includes(':')) passwords.push(userInfo.slice(userInfo.indexOf(':') + 1))
    // The same url as a parser splits it: it may end the user part at an earlier "@" than the last one.
    if (URL.canParse(url)) passwords.push(new URL(url).password)
    for (const [parameter] of url.matchAll(secretParameter)) passwords.push(parameter.slice(parameter.indexOf('=') + 1))
  }
  return passwords
}

function formsOf(value: string): string[] {
  const decoded = uriDecoded(value)
  const plain = [value, decoded, encodeURIComponent(value), encodeURIComponent(decoded)]
  return plain.flatMap((form) => [form, JSON.stringify(form).slice(1, -1)])
}

function uriDecoded(value: string): string {
  try {
    return decodeURIComponent(value)
  } catch {
    // Not percent-encoded: the value stands for itself.
    return value
  }
}
