import { setTimeout as delay } from 'node:timers/promises'
import { parseLsn } from '../src/base/lsn.ts'

const pollInterval_ms = 100

/** The part of `/api/status` that the demo reads. */
interface StatusReply {
  readonly state: string
  readonly reason: { readonly message: string } | null
  readonly positions: { readonly stored: string | null }
}

/** Polls until the bridge streams. Rejects after `bound` milliseconds with what it said last. */
export async function untilReady(address: string, bound: number): Promise<void> {
  let last = 'it does not answer'
  await poll(
    bound,
    'the bridge to stream',
    () => last,
    async () => {
      const reply = await fetch(`${address}/readyz`).catch(() => undefined)
      if (reply === undefined) return false
      last = await reply.text()
      return reply.status === 200 && last.includes('streaming')
    },
  )
}

/** Polls until the stored LSN lies above `lsn`, the commit LSN of the last event. Gives the stored LSN. */
export async function untilStored(address: string, lsn: string, bound: number): Promise<string> {
  let stored = '0/0'
  await poll(
    bound,
    `the stored LSN to pass ${lsn}`,
    () => stored,
    async () => {
      stored = await storedLsn(address)
      return parseLsn(stored) > parseLsn(lsn)
    },
  )
  return stored
}

export async function storedLsn(address: string): Promise<string> {
  const status = (await (await fetch(`${address}/api/status`)).json()) as StatusReply
  return status.positions.stored ?? '0/0'
}

/** There is no signal to wait for across HTTP: asks again and again, with a bound. */
export async function poll(
  bound: number,
  what: string,
  last: () => string,
  ready: () => boolean | Promise<boolean>,
): Promise<void> {
  const deadline = performance.now() + bound
  while (!(await ready())) {
    if (performance.now() > deadline) throw new Error(`waited ${bound} ms for ${what}; last seen: ${last()}`)
    await delay(pollInterval_ms)
  }
}
