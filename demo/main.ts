import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { say, stage } from './screen.ts'
import { runDemo } from './story.ts'
import { Teardown } from './teardown.ts'

const usage = `npm run demo [-- --keep]

Starts a private PostgreSQL, a private RabbitMQ and the bridge, plays a small shop, restarts RabbitMQ in the middle,
and checks that every committed event arrived. --keep stays up afterwards until Ctrl-C.`

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { keep: { type: 'boolean' }, help: { type: 'boolean' } } })
  if (values.help === true) {
    say(usage)
    return 0
  }
  const teardown = new Teardown()
  const interrupted = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.on(signal, () => {
      // The second time somebody does not want to wait; the services end with this process in any case.
      if (interrupted.signal.aborted) process.exit(130)
      stage(`${signal}: cleaning up`)
      interrupted.abort()
    })
  try {
    const folder = await mkdtemp(join(tmpdir(), 'wal2rabbit-demo-'))
    teardown.add(() => rm(folder, { recursive: true, force: true }))
    return await runDemo({ keep: values.keep === true, folder, teardown, signal: interrupted.signal })
  } catch (error) {
    if (interrupted.signal.aborted) return 130
    process.stderr.write(`the demo failed: ${error instanceof Error ? error.message : String(error)}\n`)
    return 1
  } finally {
    await teardown.run()
  }
}

process.exit(await main())
