import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { RabbitControl } from './contract.ts'
import { execInContainer } from './docker.ts'

const run = promisify(execFile)

/** rabbitmqctl on a node that may have been started by another process; gives standard output. */
export async function runControl(control: RabbitControl, args: readonly string[]): Promise<string> {
  if (control.kind === 'container') return execInContainer(control.id, ['rabbitmqctl', ...args])
  const [file, ...rest] = control.command
  if (file === undefined) throw new Error('no command for rabbitmqctl was given')
  const { stdout } = await run(file, [...rest, ...args], { env: { ...control.env }, cwd: '/', maxBuffer: 64 << 20 })
  return stdout
}

/** The node of an url given from outside: the machine's own rabbitmqctl, as root. */
export const machineControl: RabbitControl = {
  kind: 'command',
  command: ['rabbitmqctl'],
  env: {
    PATH: process.env.PATH ?? '/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: process.env.HOME ?? '/root',
    LANG: 'C.UTF-8',
  },
}
