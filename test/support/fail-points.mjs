import { failPoints } from '../../dist/base/fail-point.js'

// node --import this dist/cli/main.js, with WAL2RABBIT_FAIL_POINT=name[:nth[:signal]]: the process kills itself at the nth hit, or
// sends itself another signal, such as SIGSTOP.
const setting = process.env.WAL2RABBIT_FAIL_POINT ?? ''
// The program refuses variables with its prefix that it does not know.
delete process.env.WAL2RABBIT_FAIL_POINT
const [name, nth = '1', signal = 'SIGKILL'] = setting.split(':')
let left = Number(nth)
if (!name || !Number.isSafeInteger(left) || left < 1) {
  throw new Error(`WAL2RABBIT_FAIL_POINT=${setting}: expected a name, name:number, or name:number:signal`)
}

failPoints.hit = (hit) => {
  if (hit !== name) return
  left -= 1
  // As kill -9 from outside: no handler, no flush, nothing after it runs.
  if (left === 0) process.kill(process.pid, signal)
}
