/**
 * The part of a `pg.Client` that stages need, so that they can be tested without one. `name` makes the statement a
 * prepared one of the connection. Values go over as text; results come as the driver parses them.
 */
export interface PostgresClient {
  query(statement: {
    readonly name?: string
    readonly text: string
    readonly values?: unknown[]
  }): Promise<{ readonly rows: Record<string, unknown>[]; readonly rowCount: number | null }>
}
