import type { SceneOptions } from '../rig/scene-options.ts'
import type { Row } from '../row.ts'
import { beginAndEnd, type OddEvent, writeEvent } from './postgres-odd-event.ts'

const megabyte = 1024 * 1024

/** A row that cannot be sent, and the reason that its dead letter must give. */
interface Unsendable {
  readonly event: OddEvent
  readonly reason: 'EVENT_INVALID' | 'EVENT_TOO_LARGE' | 'EVENT_REFUSED'
}

const text = (length: number) => 'x'.repeat(length)
const withHeaders = (headers: string): Unsendable => ({ event: { headers }, reason: 'EVENT_INVALID' })

/** Headers and payload are `json` here: jsonb refuses NUL and lone surrogates by itself. */
const unsendable: readonly Unsendable[] = [
  { event: { aggregate: `long.${text(300)}` }, reason: 'EVENT_INVALID' },
  { event: { type: text(300) }, reason: 'EVENT_INVALID' },
  { event: { aggregate: `wide.${'€'.repeat(90)}` }, reason: 'EVENT_INVALID' },
  withHeaders(`{"sequence": 1, "large": "${text(70_000)}"}`),
  withHeaders(`{"sequence": 1, "${text(300)}": true}`),
  withHeaders('{"sequence": 1, "CC": ["elsewhere"]}'),
  withHeaders('{"sequence": 1, "BCC": ["elsewhere"]}'),
  withHeaders('{"sequence": 1, "x-death": []}'),
  withHeaders('{"sequence": 1, "x-delay": 5}'),
  withHeaders('[1, 2]'),
  withHeaders('"text"'),
  withHeaders('5'),
  withHeaders('null'),
  withHeaders('{"sequence": 1, "beyond": 1e400}'),
]

/** Odd, and AMQP carries it. */
const sendable: readonly OddEvent[] = [
  { payload: null },
  { payload: '{"nul": "\\u0000"}' },
  { payload: '{"lone": "\\ud800", "other": "\\udfff"}' },
  { payload: '{"twice": 1, "twice":   2}' },
  { payload: '""' },
  { headers: '{"sequence": 1, "wal-lsn": "0/0", "aggregate_id": "another", "wal-replay": "none"}' },
  { headers: '{"sequence": 1, "nested": {"deep": [1, {"a": null}, 9007199254740993, 1.5]}, "": "no name"}' },
  { headers: `{"sequence": 1, "large": "${text(60_000)}"}` },
  { aggregate: `fits.${text(200)}` },
  { aggregate: 'emoji.😀€' },
]

/** Either is an answer; the channel stays open. */
const doubtful: readonly OddEvent[] = [
  { headers: '{"sequence": 1, "nul": "a\\u0000b"}' },
  { headers: '{"sequence": 1, "lone": "\\ud800"}' },
]

export const eventRows: readonly Row[] = [
  {
    id: 'F35',
    title: 'keys, headers and payloads that AMQP cannot carry, among good ones',
    expect: 'R',
    quick: true,
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed })
      await scene.query('ALTER TABLE public.outbox ALTER payload TYPE json, ALTER headers TYPE json')
      await scene.start()
      const ends = await beginAndEnd(scene)
      const expected = new Map<string, string>()
      for (let run = 0; run < runs; run++) {
        await scene.flow(100)
        for (const { event, reason } of unsendable) expected.set(await writeEvent(scene, event), reason)
        for (const event of [...sendable, ...doubtful]) await writeEvent(scene, event)
      }
      await ends(expected, doubtful.length * runs)
      return scene.finish({ runs, note: `${expected.size} dead letters` })
    },
  },
  {
    id: 'F33',
    title: 'payload of 100 MB, over sink.maxMessageSize',
    expect: 'R',
    timeout: 200,
    async run(rig, { seed, runs }) {
      // What PostgreSQL sends at once has to be held once, whatever is done with it: the memory is a figure, not a goal.
      const scene = await rig.scene({ seed, memoryLimit: 1300 * megabyte })
      await scene.start()
      const ends = await beginAndEnd(scene)
      const expected = new Map<string, string>()
      for (let run = 0; run < runs; run++) {
        await scene.flow(100)
        expected.set(await writeEvent(scene, { payload: `"${text(100 * megabyte)}"` }), 'EVENT_TOO_LARGE')
        await scene.flow(100)
      }
      await ends(expected)
      const { residentBytes } = scene.bridge
      return scene.finish({ runs, note: `${Math.round(residentBytes / megabyte)} MB resident at most` })
    },
  },
  {
    id: 'F33',
    title: 'payload over the limit of the broker (max_message_size), below sink.maxMessageSize',
    expect: 'R',
    async run(rig, { seed, runs }) {
      const scene = await rig.scene({ seed, ...smallBroker })
      await scene.start()
      const expected = new Map<string, string>()
      const ends = await beginAndEnd(scene, { mayClose: true })
      for (let run = 0; run < runs; run++) {
        await scene.flow(100)
        expected.set(await writeEvent(scene, { payload: `"${text(2 * megabyte)}"` }), 'EVENT_REFUSED')
        await scene.flow(100)
      }
      await ends(expected)
      return scene.finish({ runs })
    },
  },
]

const smallBroker = { rabbit: { config: ['max_message_size = 1048576'] } } as const satisfies Partial<SceneOptions>
