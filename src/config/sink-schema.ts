import { z } from 'zod'
import { flagValue, key, section, textValue } from './fields.ts'
import { addUrlIssue, count, duration, minute, path, size, word } from './key-kinds.ts'
import { bindingsValue, exchangesValue, queuesValue, templateValue } from './routing-fields.ts'
import { sinkUrlsProblem, splitUrls } from './urls.ts'

const sinkUrlsExpected = 'expected one url, or a list of them, of the form amqps://user@host:5671/vhost'

const sinkUrls = z
  .union([z.string(), z.array(z.string()).min(1, sinkUrlsExpected)], sinkUrlsExpected)
  .transform((urls) => (typeof urls === 'string' ? splitUrls(urls) : urls))
  .superRefine((urls, context) => addUrlIssue(sinkUrlsProblem(urls), context))

/** `sink`: the RabbitMQ side. */
export const sinkSchema = section({
  url: key(sinkUrls, {
    help: 'RabbitMQ; several urls (a list, or separated by commas) for a cluster, tried in turn.',
    unit: 'url or list',
    form: 'text',
    secret: 'url',
    fallbackEnv: 'AMQP_URL',
  }),
  exchange: key(textValue(255, 'the name of an exchange').prefault('outbox'), {
    help: 'Exchange that events go to, where no route and no row says otherwise.',
    unit: 'text',
    form: 'text',
  }),
  routingKey: key(templateValue.prefault('{aggregate_type}.{type}'), {
    help: 'Routing key; `{aggregate_type}`, `{aggregate_id}`, `{type}` and `{id}` stand for those of the event.',
    unit: 'template',
    form: 'text',
  }),
  confirmWindow: section({
    messages: count(2000, 'The most messages published and not yet confirmed.', 1, 50_000),
    bytes: size('32MiB', 'The most bytes of them.', { max: 4 * 1024 ** 3 }),
  }),
  maxMessageSize: size(
    '16MiB',
    'An event with a larger body becomes a dead letter. Not above the `max_message_size` of the broker.',
    { max: 512 * 1024 ** 2 },
  ),
  heartbeat: duration('10s', 'AMQP heartbeat, in whole seconds: a silent connection is given up after two.', {
    min: 1000,
    max: 60 * minute,
  }),
  connectTimeout: duration('10s', 'How long to wait for a connection to RabbitMQ.', { max: 10 * minute }),
  confirmTimeout: duration(
    '30s',
    'How long to wait for a confirm before the channel is replaced; does not run while the broker blocks.',
    { max: 60 * minute },
  ),
  tls: section({
    ca: path('PEM file with the certificate authority of the broker; the system ones when absent.'),
    cert: path('PEM file with the client certificate.'),
    key: path('PEM file with the key of the client certificate.'),
    passphrase: key(textValue(4096, 'a pass phrase').optional(), {
      help: 'Pass phrase of the key.',
      unit: 'text',
      form: 'text',
      secret: 'plain',
    }),
    serverName: key(textValue(253, 'a host name').optional(), {
      help: 'Name that the certificate of the broker must have; the host of the url when absent.',
      unit: 'text',
      form: 'text',
    }),
    verify: key(flagValue().prefault(true), {
      help: 'Check the certificate of the broker. `false` lets anybody in between read and change everything.',
      unit: 'true \\| false',
      form: 'yaml',
    }),
  }),
  topology: section({
    mode: word(
      ['declare', 'verify'],
      'declare',
      'Declare exchanges, queues and bindings listed here when they are missing, or only verify that they are there.',
    ),
    exchanges: key(exchangesValue.prefault([]), {
      help: 'Exchanges: `{ name, type, durable, arguments }`; type topic and durable unless said.',
      unit: 'list',
      form: 'yaml',
    }),
    queues: key(queuesValue.prefault([]), {
      help: 'Queues: `{ name, type, durable, arguments }`; type quorum (or classic, stream) and durable unless said.',
      unit: 'list',
      form: 'yaml',
    }),
    bindings: key(bindingsValue.prefault([]), {
      help: 'Bindings: `{ exchange, queue, routingKey, arguments }`.',
      unit: 'list',
      form: 'yaml',
    }),
  }),
})
