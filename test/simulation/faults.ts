import type { BridgeHost } from './bridge-host.ts'
import type { Workload } from './workload.ts'
import type { World } from './world.ts'

export interface Stage extends World {
  readonly workload: Workload
  readonly hosts: BridgeHost[]
  /** Makes a new process in place of a dead one. */
  startAgain(index: number): void
}

type Fault = (stage: Stage, index: number) => void

const once = (stage: Stage, low: number, high: number, heal: () => void) =>
  void stage.time.post(stage.random.between(low, high), undefined, heal)

/** What can go wrong, and how it heals by itself. `index` is the process that it concerns, where it concerns one. */
export const faults: Readonly<Record<string, Fault>> = {
  kill(stage, index) {
    stage.hosts[index]!.kill(stage.random.chance(0.2))
    once(stage, 0, 1500, () => stage.startAgain(index))
  },
  stop(stage, index) {
    // In the middle of its work, and half of the time until another one may have taken over.
    for (let statements = stage.random.between(0, 8); statements > 0; statements--) stage.workload.step()
    stage.workload.commitAll()
    once(stage, 0, 12, () => {
      const active = stage.hosts.find(({ supervisor }) => supervisor.state === 'streaming')
      const { owner } = active ?? stage.hosts[index]!
      owner.stopped = true
      const [low, high] = stage.random.chance(0.5) ? [100, 1500] : [5000, 9000]
      once(stage, low, high, () => stage.time.proceed(owner))
    })
  },
  terminate(stage, index) {
    const host = stage.hosts[index]!
    host.terminate()
    // SIGKILL after the grace time.
    once(stage, 500, 6000, () => {
      if (stage.hosts[index] !== host) return
      if (host.owner.alive) host.kill(false)
      stage.startAgain(index)
    })
  },
  cutSource: (stage, index) => stage.hosts[index]!.cut('source'),
  cutControl: (stage, index) => stage.hosts[index]!.cut('control'),
  cutKeeper: (stage, index) => stage.hosts[index]!.cut('keeper'),
  cutSink: (stage, index) => stage.hosts[index]!.cut('sink'),
  blackhole: (stage, index) => stage.hosts[index]!.blackhole(),
  postgresCrash({ postgres, ...stage }) {
    stage.workload.forget()
    if (!postgres.running) return
    postgres.crash()
    once({ postgres, ...stage }, 0, 2000, () => {
      if (!postgres.running) postgres.start()
    })
  },
  failover({ postgres, workload, truth, random }) {
    if (!postgres.running) return
    workload.forget()
    // Up to where the stand-by has WAL: all of it, or less by some transactions.
    const lag = random.chance(0.4) ? 0 : random.between(1, 4)
    const lost = truth.committed.at(-lag)
    const lsn = lag === 0 || lost === undefined ? postgres.walEnd : lost.commitLsn
    postgres.failOver(lsn, random.chance(0.95))
  },
  brokerCrash(stage) {
    stage.broker.crash()
    once(stage, 0, 2500, () => {
      stage.broker.running = true
    })
  },
  brokerBlocked(stage) {
    stage.broker.setBlocked(true)
    once(stage, 50, stage.random.chance(0.5) ? 8000 : 1500, () => stage.broker.setBlocked(false))
  },
  brokerSilent(stage) {
    stage.broker.silent = true
    once(stage, 50, stage.random.chance(0.3) ? 8000 : 1500, () => {
      stage.broker.silent = false
    })
  },
  confirmUnknown(stage, index) {
    stage.hosts[index]!.sink.channel?.confirmUnknown()
  },
}

/** Only where events may become dead letters. */
export const deadLetterFaults: typeof faults = {
  keepFails(stage) {
    stage.postgres.keepFails = true
    once(stage, 50, 2500, () => {
      stage.postgres.keepFails = false
    })
  },
  discard({ postgres, truth, random }) {
    const [id] = [...postgres.deadLetters.keys()].slice(random.between(0, 3))
    const event = id === undefined ? undefined : truth.events.get(id)
    if (postgres.running && event !== undefined) postgres.discard(event.aggregateId)
  },
}

/** After these the bridge has to halt, unless it stored past them first. */
export const meddling: Readonly<Record<string, (stage: Pick<World, 'postgres'>) => void>> = {
  slotMoved: ({ postgres }) => postgres.moveSlot(),
  slotMadeAnew({ postgres }) {
    if (!postgres.running || postgres.holder !== undefined) return
    postgres.write(200n)
    postgres.slot.exists = true
    postgres.slot.confirmed = postgres.slot.saved = postgres.walEnd
  },
  slotDropped({ postgres }) {
    if (postgres.running && postgres.holder === undefined) postgres.slot.exists = false
  },
}
