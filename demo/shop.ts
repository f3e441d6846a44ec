import { randomUUID } from 'node:crypto'
import pg from 'pg'
import type { Ledger } from './balance.ts'

/**
 * A small shop: each order is a row of its own table and some events in the outbox, in one transaction. It knows neither
 * the bridge nor RabbitMQ. Two connections, so that transactions can overlap.
 */
export class Shop {
  readonly #clients: readonly [pg.Client, pg.Client]
  readonly #committed: string[] = []
  readonly #rolledBack: string[] = []
  #orders = 0

  private constructor(clients: readonly [pg.Client, pg.Client]) {
    this.#clients = clients
  }

  static async open(url: string): Promise<Shop> {
    const clients = [new pg.Client({ connectionString: url }), new pg.Client({ connectionString: url })] as const
    await Promise.all(clients.map((client) => client.connect()))
    await clients[0].query('CREATE TABLE shop_order (number int PRIMARY KEY, total numeric NOT NULL)')
    return new Shop(clients)
  }

  get ledger(): Ledger {
    return { committed: this.#committed, rolledBack: this.#rolledBack }
  }

  get orders(): number {
    return this.#orders
  }

  /** The next order; every few orders something happens to one. Says what it did. */
  async trade(): Promise<string> {
    const number = ++this.#orders
    if (number % 7 === 3) return this.#cancelled(number)
    if (number % 5 === 2) return this.#withRefusedCoupon(number)
    if (number % 6 === 5) return this.#overtaken(number)
    return this.#plain(number)
  }

  async close(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.end()))
  }

  async #plain(number: number): Promise<string> {
    const [client] = this.#clients
    await client.query('BEGIN')
    const ids = await place(client, number)
    for (let item = 0; item < number % 4; item++) ids.push(await tell(client, number, 'ItemReserved', { item }))
    await this.#commit(client, ids)
    return `order ${number} committed, ${ids.length} events`
  }

  async #cancelled(number: number): Promise<string> {
    const [client] = this.#clients
    await client.query('BEGIN')
    const ids = await place(client, number)
    await client.query('ROLLBACK')
    this.#rolledBack.push(...ids)
    return `order ${number} rolled back, ${ids.length} events that must never be seen`
  }

  async #withRefusedCoupon(number: number): Promise<string> {
    const [client] = this.#clients
    await client.query('BEGIN')
    const ids = await place(client, number)
    await client.query('SAVEPOINT coupon')
    const coupon = await tell(client, number, 'CouponAccepted', { percent: 90 })
    await client.query('ROLLBACK TO SAVEPOINT coupon')
    ids.push(await tell(client, number, 'CouponRefused', {}))
    await this.#commit(client, ids)
    this.#rolledBack.push(coupon)
    return `order ${number} committed, ${ids.length} events; its savepoint rolled back, 1 event`
  }

  /** The order begun first commits last: events go out in commit order, not in the order of the inserts. */
  async #overtaken(number: number): Promise<string> {
    const [slow, quick] = this.#clients
    const quickNumber = ++this.#orders
    await slow.query('BEGIN')
    const slowIds = await place(slow, number)
    await quick.query('BEGIN')
    await this.#commit(quick, await place(quick, quickNumber))
    slowIds.push(await tell(slow, number, 'OrderShipped', {}))
    await this.#commit(slow, slowIds)
    return `order ${number} committed after order ${quickNumber}, which began later`
  }

  async #commit(client: pg.Client, ids: readonly string[]): Promise<void> {
    await client.query('COMMIT')
    this.#committed.push(...ids)
  }
}

async function place(client: pg.Client, number: number): Promise<string[]> {
  const total = (19 + ((number * 37) % 400)) / 4
  await client.query('INSERT INTO shop_order (number, total) VALUES ($1, $2)', [number, total])
  return [
    await tell(client, number, 'OrderPlaced', { number, total }),
    await tell(client, number, 'PaymentTaken', { number, total, currency: 'EUR' }),
  ]
}

/** One event into the outbox: this insert is all that an application has to do. */
async function tell(client: pg.Client, number: number, type: string, payload: object): Promise<string> {
  const id = randomUUID()
  await client.query(
    'INSERT INTO outbox (id, aggregate_type, aggregate_id, type, payload) VALUES ($1, $2, $3, $4, $5)',
    [id, 'order', String(number), type, JSON.stringify(payload)],
  )
  return id
}
