import { z } from 'zod'
import { BridgeError } from '../base/errors.ts'
import { compileTemplate } from '../routing/template.ts'
import { flagValue, textValue, wordValue } from './fields.ts'

/** Everything that AMQP holds in a short string: names of exchanges and queues, routing keys. */
const shortString = (what: string) => textValue(255, what)
const columnName = textValue(63, 'the name of a column')
const columnNamesExpected = 'expected the name of a column, 1 to 63 bytes, or a list of such names'
const columnNames = z.union([columnName, z.array(columnName).min(1, columnNamesExpected)], columnNamesExpected)

/** A routing key with `{aggregate_type}`, `{aggregate_id}`, `{type}`, `{id}` in it. */
export const templateValue = shortString('a routing key').superRefine((text, context) => {
  try {
    compileTemplate(text)
  } catch (error) {
    if (!(error instanceof BridgeError)) throw error
    context.addIssue({ code: 'custom', message: `expected a routing key template: ${error.message}` })
  }
})

export const unroutableValue = wordValue(['dead-letter', 'block', 'drop'])

/** Which column of the table holds what, several names in the order they are tried; null for "the table has no such column". */
export const columnsValue = z.union(
  [
    wordValue(['default', 'debezium']),
    z.strictObject({
      id: columnNames.optional(),
      aggregate_type: columnNames.optional(),
      aggregate_id: columnNames.optional(),
      type: columnNames.optional(),
      payload: columnNames.optional(),
      headers: columnNames.nullable().optional(),
      created_at: columnNames.nullable().optional(),
      transaction_id: columnNames.nullable().optional(),
      exchange: columnNames.nullable().optional(),
      routing_key: columnNames.nullable().optional(),
      content_type: columnNames.nullable().optional(),
      correlation_id: columnNames.nullable().optional(),
      expiration: columnNames.nullable().optional(),
      priority: columnNames.nullable().optional(),
    }),
  ],
  'expected default, debezium, or a map from our names of columns to yours',
)

const glob = shortString('a text in which * stands for any characters and ? for one')

export const routesValue = z.array(
  z.strictObject({
    aggregate_type: glob.optional(),
    type: glob.optional(),
    exchange: shortString('the name of an exchange').optional(),
    routingKey: templateValue.optional(),
    headers: z
      .record(shortString('the name of a header'), z.union([z.string(), z.number(), z.boolean()], headerError()))
      .optional(),
    unroutable: unroutableValue.optional(),
  }),
  'expected a list of routes',
)

function headerError() {
  return { error: 'expected a text, a number, or true or false' }
}

/** Arguments of an exchange, a queue or a binding, as the broker takes them. */
const argumentsValue = z
  .record(z.string(), z.union([z.string(), z.number(), z.boolean()], headerError()), 'expected a map of arguments')
  .default({})

/** The broker refuses to declare these (403): they are its own. */
const declarable = (what: string) =>
  shortString(what).refine((name) => !name.startsWith('amq.'), `expected ${what} that does not begin with "amq."`)

export const exchangesValue = z.array(
  z.strictObject({
    name: declarable('the name of an exchange'),
    type: shortString('the type of an exchange, such as topic, direct, fanout or headers').default('topic'),
    durable: flagValue().default(true),
    arguments: argumentsValue,
  }),
  'expected a list of exchanges',
)

export const queuesValue = z.array(
  z
    .strictObject({
      name: declarable('the name of a queue'),
      type: wordValue(['quorum', 'classic', 'stream']).default('quorum'),
      durable: flagValue().default(true),
      arguments: argumentsValue.refine(
        (table) => !('x-queue-type' in table),
        'expected the queue type in the key "type"',
      ),
    })
    .refine((queue) => queue.durable || queue.type === 'classic', {
      path: ['durable'],
      message: 'expected true: quorum and stream queues are always durable',
    }),
  'expected a list of queues',
)

export const bindingsValue = z.array(
  z.strictObject({
    exchange: shortString('the name of an exchange'),
    queue: shortString('the name of a queue'),
    routingKey: z.string('expected a text').default(''),
    arguments: argumentsValue,
  }),
  'expected a list of bindings',
)
