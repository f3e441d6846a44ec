import { type Layer, unknownKey } from './entries.ts'
import { addText } from './env-layer.ts'
import { configKeys, configSections } from './keys.ts'

/** A flag that sets one key: `--slot orders` is { flag: '--slot', path: 'source.slot', text: 'orders' }. */
export interface FlagSetting {
  readonly flag: string
  readonly path: string
  readonly text: string
}

/** Takes `--set key=value` apart; a text without `=` has no path to speak of and is refused by readFlagLayer. */
export function parseSetting(text: string): FlagSetting {
  const equals = text.indexOf('=')
  return { flag: '--set', path: equals === -1 ? '' : text.slice(0, equals).trim(), text: text.slice(equals + 1) }
}

/** Entries of the command line. Passwords are refused there: `ps` shows them to everybody on the machine. */
export function readFlagLayer(settings: readonly FlagSetting[]): Layer {
  const layer: Layer = { entries: [], problems: [] }
  for (const { flag, path, text } of settings) {
    const key = configKeys.get(path)
    if (path === '') {
      layer.problems.push({ key: flag, origin: 'command line', expected: 'expected the form key=value' })
    } else if (key === undefined && configSections.get(path)?.zero === undefined) {
      layer.problems.push(unknownKey(path, flag))
    } else if (key?.secret === 'plain' || (key?.secret === 'url' && holdsPassword(text))) {
      const expected = 'expected no secret on the command line, where every user of the machine sees it'
      layer.problems.push({ key: path, origin: flag, expected, remedy: `set ${key.env} or ${key.env}_FILE` })
    } else {
      addText(path, text, flag, layer)
    }
  }
  return layer
}

function holdsPassword(urls: string): boolean {
  return /:\/\/[^,]*:[^,]*@/.test(urls) || /[?&][^=&]*(pass|secret|token)[^=&]*=/i.test(urls)
}
