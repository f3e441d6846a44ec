import { expect, test } from 'vitest'
import { BridgeError } from '../../src/base/errors.ts'
import { createLogger, type LogDestination, type LoggerOptions } from '../../src/base/log.ts'
import { createScrubber } from '../../src/base/secrets.ts'

function logging(options: Partial<LoggerOptions> & { readonly isTTY?: boolean } = {}) {
  const lines: string[] = []
  const destination: LogDestination = { write: (line) => lines.push(line), isTTY: options.isTTY ?? false }
  const log = createLogger({ level: 'info', format: 'auto', scrub: (text) => text, destination, ...options })
  return { log, lines, last: () => JSON.parse(lines.at(-1)!) as Record<string, unknown> }
}

test('a record is one line of JSON with the level as a word and an ISO 8601 time', () => {
  const { log, lines, last } = logging()
  log.info({ lsn: '0/16' }, 'stored')
  expect(lines).toHaveLength(1)
  expect(lines[0]).toMatch(/^\{"level":"info","time":"\d{4}-\d\d-\d\dT[\d:.]+Z",.*\}\n$/)
  expect(last()).toMatchObject({ lsn: '0/16', msg: 'stored' })
})

test('a BridgeError is logged as code, message, remedy and the messages of its causes, without a stack', () => {
  const { log, last } = logging()
  const root = new Error('ECONNREFUSED')
  const cause = new Error('connect failed', { cause: root })
  log.error({ err: new BridgeError('SINK_UNREACHABLE', 'no broker at mq:5672', { cause }) }, 'retrying')
  expect(last().err).toEqual({
    code: 'SINK_UNREACHABLE',
    message: 'no broker at mq:5672',
    remedy: 'Check host, port and network of sink.url, and that RabbitMQ runs.',
    causes: ['connect failed', 'ECONNREFUSED'],
  })
})

test.each(['debug', 'trace'] as const)('the level %s adds the stack', (level) => {
  const { log, last } = logging({ level })
  log.error({ err: new Error('x') })
  expect(last().err).toHaveProperty('stack')
})

test('an error given by itself, in a child, or as a reason is described as well', () => {
  const { log, last } = logging()
  log.child({ part: 'sink' }).error(new BridgeError('UNKNOWN', 'x'))
  expect(last()).toMatchObject({ part: 'sink', msg: 'x', err: { code: 'UNKNOWN' } })
  log.info({ reason: new BridgeError('SLOT_ACTIVE', 'y') })
  expect(last()).toMatchObject({ reason: { code: 'SLOT_ACTIVE', message: 'y' } })
  log.info({ reason: 'plain words' })
  expect(last()).toMatchObject({ reason: 'plain words' })
})

test('a failed connect, which Node reports without a message of its own, still says why', () => {
  const { log, last } = logging()
  log.error({
    err: new AggregateError([new Error('connect ECONNREFUSED ::1'), new Error('connect ECONNREFUSED 127.0.0.1')]),
  })
  expect(last().err).toMatchObject({ message: 'connect ECONNREFUSED ::1; connect ECONNREFUSED 127.0.0.1' })
})

test('causes that lead round in a circle end', () => {
  const { log, last } = logging()
  const error = new Error('a')
  error.cause = new Error('b', { cause: error })
  log.error({ err: error })
  expect(last().err).toMatchObject({ causes: ['b'] })
})

test('every text of a line is scrubbed: message, fields, names, errors, causes, stack, child bindings', () => {
  const { log, lines } = logging({ level: 'debug', scrub: createScrubber(['amqp://u:c4nary"x@h']) })
  const error = new BridgeError('SINK_AUTH_FAILED', 'c4nary"x', { cause: new Error('c4nary"x') })
  log
    .child({ bound: 'c4nary"x' })
    .error({ err: error, 'c4nary"x': 1, deep: [{ a: 'amqp://u:c4nary"x@h' }] }, 'c4nary"x')
  expect(lines.join('')).not.toContain('c4nary')
})

test.each(['info', 'true', '5432', 'level'])('the password %s leaves the line valid JSON', (password) => {
  const { log, last } = logging({ scrub: createScrubber([password]) })
  log.info({ level_like: password, ok: true, port: 5432 }, `with ${password}`)
  expect(last()).toMatchObject({ level: 'info', msg: 'with ***', ok: true, port: 5432 })
})

test('on a terminal lines are pretty and coloured, and scrubbed, too', () => {
  const { log, lines } = logging({ isTTY: true, scrub: createScrubber(['c4nary']) })
  log.warn({ err: new BridgeError('SINK_UNREACHABLE', 'no broker c4nary') }, 'retrying')
  const text = lines.join('')
  expect(text).toContain('\u001b[')
  expect(text).toContain('SINK_UNREACHABLE')
  expect(text).toContain('no broker ***')
  expect(() => JSON.parse(text)).toThrow()
})

test('pretty without a terminal has no colours', () => {
  const { log, lines } = logging({ format: 'pretty' })
  log.info('hello')
  expect(lines.join('')).toMatch(/INFO.*hello/)
  expect(lines.join('')).not.toContain('\u001b[')
})

test('records below the level are not written', () => {
  const { log, lines } = logging({ level: 'warn' })
  log.info('x')
  expect(lines).toEqual([])
})
