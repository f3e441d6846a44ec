// node --import this: each SIGUSR2 moves the wall clock of the process, by hours that come in turn from
// WAL2RABBIT_TEST_CLOCK_JUMPS (such as 3,-9,48). Timers and performance.now() go on as they do when a real clock is set.
const jumps = (process.env.WAL2RABBIT_TEST_CLOCK_JUMPS ?? '').split(',').map(Number)
if (jumps.some((hours) => !Number.isFinite(hours) || hours === 0)) {
  throw new Error(
    `WAL2RABBIT_TEST_CLOCK_JUMPS=${process.env.WAL2RABBIT_TEST_CLOCK_JUMPS}: expected hours, separated by commas`,
  )
}

const RealDate = Date
let offset_ms = 0
let jumped = 0

globalThis.Date = class extends RealDate {
  constructor(...args) {
    if (args.length === 0) super(RealDate.now() + offset_ms)
    else super(...args)
  }

  static now() {
    return RealDate.now() + offset_ms
  }
}

process.on('SIGUSR2', () => {
  offset_ms += jumps[jumped++ % jumps.length] * 3_600_000
  process.stdout.write(`{"msg":"the clock jumps","offset_ms":${offset_ms}}\n`)
})
