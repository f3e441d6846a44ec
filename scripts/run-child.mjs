import { spawn } from 'node:child_process'

/**
 * Runs a program with this terminal and resolves with its exit code; 128 + 15 when a signal ended it, as shells have it.
 * Signals for this process are the program's business: a terminal's Ctrl-C reaches it anyway, SIGTERM is passed on.
 */
export function runChild(command, args) {
  const child = spawn(command, args, { stdio: 'inherit', shell: process.platform === 'win32' && command === 'npm' })
  const ignore = () => {}
  const passOn = () => child.kill('SIGTERM')
  process.on('SIGINT', ignore)
  process.on('SIGTERM', passOn)
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (code, signal) => {
      process.off('SIGINT', ignore)
      process.off('SIGTERM', passOn)
      resolve(code ?? 128 + (signals[signal] ?? 0))
    })
  })
}

const signals = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGKILL: 9, SIGTERM: 15 }

/** The same, but ends this process when the program fails. */
export async function runOrExit(command, args) {
  const code = await runChild(command, args)
  if (code !== 0) process.exit(code)
}
