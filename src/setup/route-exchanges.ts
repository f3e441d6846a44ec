import type { RequiredExchange } from '../sink/topology.ts'

/**
 * The exchanges that routes name beside `exchange`, each once, with the first route that names it. An exchange that a
 * row names is not known before the row comes.
 */
export function routeExchanges(
  exchange: string,
  routes: readonly { readonly exchange?: string | undefined }[],
): RequiredExchange[] {
  const keys = new Map<string, string>()
  for (const [index, route] of routes.entries()) {
    const name = route.exchange
    if (name !== undefined && name !== exchange && !keys.has(name)) keys.set(name, `routes[${index}].exchange`)
  }
  return [...keys].map(([name, key]) => ({ name, key }))
}
