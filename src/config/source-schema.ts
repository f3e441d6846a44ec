import { z } from 'zod'
import { parseTableName } from '../base/sql.ts'
import { durationValue, key, section, textValue } from './fields.ts'
import { addUrlIssue, duration, minute, word } from './key-kinds.ts'
import { columnsValue } from './routing-fields.ts'
import { sourceUrlProblem } from './urls.ts'

const sourceUrl = z
  .string('expected a url of the form postgres://user@host:5432/database')
  .superRefine((url, context) => addUrlIssue(sourceUrlProblem(url), context))

const tableName = textValue(200, 'a table').refine(isTableName, 'expected a table of the form schema.table')

function isTableName(text: string): boolean {
  try {
    parseTableName(text)
    return true
  } catch {
    // parseTableName says "no" by throwing; what was expected is said here in the words of a key.
    return false
  }
}

function slotError(): string {
  return 'expected the name of a slot: 1 to 63 of a-z, 0-9 and _'
}

/** `source`: the PostgreSQL side. */
export const sourceSchema = section({
  url: key(sourceUrl, {
    help: 'PostgreSQL with the outbox. The role needs REPLICATION and the grants of `sql/roles.sql`. `sslmode` may be disable, require, verify-ca or verify-full.',
    unit: 'url',
    form: 'text',
    secret: 'url',
    fallbackEnv: 'DATABASE_URL',
  }),
  slot: key(
    z
      .string(slotError())
      .regex(/^[a-z0-9_]{1,63}$/, slotError())
      .prefault('wal2rabbit'),
    {
      help: 'Logical replication slot. One slot is one bridge; a second process on it stands by.',
      unit: 'text',
      form: 'text',
    },
  ),
  publication: key(textValue(63, 'the name of a publication').prefault('wal2rabbit'), {
    help: 'Publication that holds the outbox table (pgoutput only).',
    unit: 'text',
    form: 'text',
  }),
  plugin: word(['pgoutput', 'wal2json'], 'pgoutput', 'Output plugin of the slot.'),
  table: key(tableName.prefault('public.outbox'), { help: 'The outbox table.', unit: 'schema.table', form: 'text' }),
  columns: key(columnsValue.prefault('default'), {
    help: 'Which columns hold what: `default`, `debezium` (aggregatetype, aggregateid, …), or a map from our names to yours, such as `{ id: event_id, headers: null }`; null for a column that the table does not have. A list of names reads the first that a row has: `{ payload: [body, payload] }` while the stream still brings rows from before a rename.',
    unit: 'default \\| debezium \\| map',
    form: 'yaml',
  }),
  statusInterval: duration('10s', 'How often the slot is told the stored LSN when nothing else tells it.', {
    max: 10 * minute,
  }),
  walSenderTimeout: key(durationValue({ min: 1000, zero: true }).optional(), {
    help: "Sets `wal_sender_timeout` on the replication connection; the server's own when absent, 0 turns it off.",
    unit: 'duration',
    form: 'yaml',
  }),
  connectTimeout: duration('10s', 'How long to wait for a connection to PostgreSQL.', { max: 10 * minute }),
})
