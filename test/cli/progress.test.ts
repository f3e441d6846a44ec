import { expect, test } from 'vitest'
import { Progress } from '../../src/cli/progress.ts'
import { contextOn } from '../support/cli-context.ts'

function stage(terminal: { isTTY?: boolean; columns?: number }) {
  let written = ''
  const stream = { write: (text: string) => (written += text), ...terminal }
  const context = contextOn(stream)
  let now = 0
  const progress = new Progress(context, () => now)
  return {
    show(text: string, fraction: number | 'unknown' = 0.5, after = 6000) {
      now += after
      written = ''
      progress.show(() => ({ fraction: fraction === 'unknown' ? undefined : fraction, text }))
      return written
    },
    clear() {
      written = ''
      progress.clear()
      return written
    },
  }
}

const bare = (text: string) => text.replace('\r', '').replace('\u001b[K', '')

test('where there is no terminal it is a line, and none within five seconds of the last', () => {
  const { show } = stage({})
  expect(show('7 events')).toBe('7 events\n')
  expect(show('8 events', 0.5, 4000)).toBe('')
})

test('on a terminal it is a bar in one line that is written over', () => {
  const { show, clear } = stage({ isTTY: true, columns: 100 })
  expect(show('7 events', 0.5)).toBe(`\r[${'#'.repeat(15)}${'.'.repeat(15)}] 7 events\u001b[K`)
  expect(clear()).toBe('\r\u001b[2K')
  expect(clear()).toBe('')
})

test('there is no bar where it is not known how far it is: an empty one would say that nothing is done', () => {
  const { show, clear } = stage({ isTTY: true, columns: 100 })
  expect(show('7 events', 'unknown')).toBe('\r7 events\u001b[K')
  expect(clear()).toBe('\r\u001b[2K')
})

test.each([120, 80, 60, 40, 20])(
  'in %i columns it never wraps: the bar gets shorter, then goes, then the text is cut',
  (columns) => {
    const text = '12,345 events, 2,100/s, 45 %, 12 s left'
    const line = bare(stage({ isTTY: true, columns }).show(text, 0.45))
    expect(line.length).toBeLessThan(columns)
    if (columns > text.length) expect(line).toContain(text)
  },
)
