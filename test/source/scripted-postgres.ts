import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'

/** How a server answers that a real one cannot be made to play. */
export interface Script {
  /** Sent in one piece with the answer to START_REPLICATION. */
  readonly atStart?: Buffer
  /** It never closes a connection, even when the other side has. */
  readonly hangs?: boolean
}

/** Speaks as much of PostgreSQL's protocol as a replication session needs. */
export class ScriptedPostgres {
  readonly #server: Server
  readonly #script: Script
  #socket: Socket | undefined
  #unread = Buffer.alloc(0)
  #isStarted = false
  /** Status updates that came: the flush LSN of each. */
  readonly flushed: bigint[] = []
  /** Kinds of all messages that came, in one string: `Q` query, `d` CopyData, `c` CopyDone, `X` Terminate. */
  kinds = ''
  #onStatus: () => void = () => {}

  constructor(script: Script) {
    this.#script = script
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      this.#socket = socket
      socket.on('data', (bytes) => this.#read(bytes))
      socket.on('end', () => {
        if (!script.hangs) socket.end()
      })
      socket.on('error', () => {}) // the client may reset: it is the one that is tested
    })
  }

  async listen(): Promise<{ host: string; port: number; user: string; database: string }> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return { host: '127.0.0.1', port: (this.#server.address() as AddressInfo).port, user: 'u', database: 'd' }
  }

  send(...messages: Buffer[]): void {
    this.#socket!.write(Buffer.concat(messages))
  }

  /** Waits until so many status updates have come. */
  async statusUpdates(count: number): Promise<void> {
    while (this.flushed.length < count) {
      await new Promise<void>((resolve) => {
        this.#onStatus = resolve
      })
    }
  }

  close(): void {
    this.#socket?.destroy()
    this.#server.close()
  }

  #read(bytes: Buffer): void {
    this.#unread = Buffer.concat([this.#unread, bytes])
    for (;;) {
      const header = this.#isStarted ? 1 : 0 // the start-up packet has no kind
      if (this.#unread.length < header + 4) return
      const end = header + this.#unread.readUInt32BE(header)
      if (this.#unread.length < end) return
      const kind = this.#isStarted ? String.fromCharCode(this.#unread[0]!) : 'startup'
      const body = this.#unread.subarray(header + 4, end)
      this.#unread = this.#unread.subarray(end)
      this.#isStarted = true
      this.#answer(kind, body)
    }
  }

  #answer(kind: string, body: Buffer): void {
    if (kind !== 'startup') this.kinds += kind
    const ready = message('Z', Buffer.from('I'))
    if (kind === 'startup') this.send(message('R', Buffer.alloc(4)), ready)
    else if (kind === 'Q' && body.includes('START_REPLICATION')) {
      this.send(message('W', Buffer.alloc(3)), this.#script.atStart ?? Buffer.alloc(0))
    } else if (kind === 'Q') this.send(...this.#facts(), message('C', Buffer.from('SELECT 1\0')), ready)
    else if (kind === 'c') this.send(message('c'), message('C', Buffer.from('COPY 0\0')), ready)
    else if (kind === 'd') {
      this.flushed.push(body.readBigUInt64BE(9))
      this.#onStatus()
    }
  }

  #facts(): Buffer[] {
    const facts = {
      pid: '42',
      wal_sender_timeout: '0',
      server_encoding: 'UTF8',
    }
    const fields = Object.keys(facts).map((name) => {
      const field = Buffer.alloc(18)
      field.writeUInt32BE(25, 6) // text
      return Buffer.concat([Buffer.from(`${name}\0`), field])
    })
    const values = Object.values(facts).map((value) => Buffer.concat([uint32(value.length), Buffer.from(value)]))
    const count = Buffer.from([0, fields.length])
    return [message('T', count, ...fields), message('D', count, ...values)]
  }
}

/** A backend message: kind, length, body. */
export function message(kind: string, ...body: Buffer[]): Buffer {
  const whole = Buffer.concat(body)
  return Buffer.concat([Buffer.from(kind), uint32(whole.length + 4), whole])
}

/** XLogData with this payload, inside of CopyData. */
export function walData(payload: Buffer): Buffer {
  return message('d', Buffer.from('w'), Buffer.alloc(24), payload)
}

export function keepalive(walEnd: bigint, replyRequested: boolean): Buffer {
  const body = Buffer.alloc(18)
  body.write('k')
  body.writeBigUInt64BE(walEnd, 1)
  body[17] = replyRequested ? 1 : 0
  return message('d', body)
}

/** A notice or error with these fields, by their one-letter names. */
export function notice(kind: 'N' | 'E', fields: Readonly<Record<string, string>>): Buffer {
  const body = Object.entries(fields).map(([name, value]) => `${name}${value}\0`)
  return message(kind, Buffer.from(`${body.join('')}\0`))
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
