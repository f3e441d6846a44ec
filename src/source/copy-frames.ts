import type { EventEmitter } from 'node:events'
import { BridgeError } from '../base/errors.ts'

/** Kind, two LSNs, time: 25 bytes before the payload, which has at least its own kind. */
const walDataSize_min = 26
/** Kind, LSN, time, whether a reply is asked for. */
const keepaliveSize_min = 18

/**
 * The library reads the head of each frame in a socket listener: a frame that is cut short would throw there and end the
 * process, one of an unknown kind would only be warned of on the console. So its listener runs inside of `guard`, after
 * a look at the frame.
 * Source: https://www.postgresql.org/docs/current/protocol-replication.html#PROTOCOL-REPLICATION-XLOGDATA
 */
export function guardFrames(connection: EventEmitter, guard: (handle: () => void) => void): void {
  const listeners = connection.listeners('copyData')
  connection.removeAllListeners('copyData')
  connection.on('copyData', (message: { readonly chunk: Buffer }) =>
    guard(() => {
      checkFrame(message.chunk)
      for (const listener of listeners) Reflect.apply(listener, connection, [message])
    }),
  )
}

function checkFrame(frame: Buffer): void {
  const kind = frame[0]
  const size_min = kind === 0x77 ? walDataSize_min : kind === 0x6b ? keepaliveSize_min : undefined
  if (size_min !== undefined && frame.length >= size_min) return
  throw new BridgeError(
    'SOURCE_PROTOCOL',
    size_min === undefined
      ? `the stream held a frame of kind ${kind === undefined ? 'nothing (empty)' : `0x${kind.toString(16)}`}, expected w or k`
      : `the stream held a frame ${kind === 0x77 ? 'w' : 'k'} of ${frame.length} bytes, expected at least ${size_min}`,
  )
}
