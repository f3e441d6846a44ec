// node --import this: SIGUSR2 blocks the event loop for WAL2RABBIT_BLOCK_MS milliseconds. The process sleeps, so that
// the others keep the processor, but no timer fires and no socket is read.
const duration = Number(process.env.WAL2RABBIT_BLOCK_MS)
// The program refuses variables with its prefix that it does not know.
delete process.env.WAL2RABBIT_BLOCK_MS
if (!(duration > 0)) throw new Error(`WAL2RABBIT_BLOCK_MS: ${duration}, expected milliseconds`)

process.on('SIGUSR2', () => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, duration)
})
