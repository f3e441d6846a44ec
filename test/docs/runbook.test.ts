import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { errorTable } from '../../src/base/errors.ts'

const page = readFileSync(new URL('../../docs/runbook.md', import.meta.url), 'utf8')
const sections = page
  .split(/^(?=##+ )/m)
  .map((text) => ({ title: /^##+ (.*)$/m.exec(text)?.[1] ?? '', text }))
  .filter(({ title }) => /^[A-Z]+(?:_[A-Z]+)*$/.test(title))

const points = ['Means', 'Safe', 'Look at', 'Go on', 'Possibly lost']

function codesOf(...actions: string[]): string[] {
  return Object.entries(errorTable)
    .filter(([, { action }]) => actions.includes(action))
    .map(([code]) => code)
}

test('the runbook has one section for each code that halts or makes a dead letter, and for no other', () => {
  expect(sections.map(({ title }) => title).sort()).toEqual(codesOf('halt', 'halt-retry', 'bug', 'dead-letter').sort())
})

test.each(codesOf('halt', 'halt-retry', 'bug'))(
  'the section of %s says what it means, what is safe, what to look at, how to go on and what may be lost',
  (code) => {
    const text = sections.find(({ title }) => title === code)?.text ?? ''
    const said = [...text.matchAll(/^- \*\*([^*]+):\*\* \S/gm)].map((match) => match[1])
    expect(said).toEqual(points)
  },
)

test.each(codesOf('halt'))(
  'the section of %s, which never ends by itself, says to restart or to accept a gap',
  (code) => {
    const goOn = /\*\*Go on:\*\*([\s\S]*?)^- \*\*/m.exec(sections.find(({ title }) => title === code)?.text ?? '')?.[1]
    expect(goOn).toMatch(/restart|accept the gap|run the newer version/)
  },
)
