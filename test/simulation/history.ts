import { SeededRandom } from '../support/seeded-random.ts'
import { BridgeHost } from './bridge-host.ts'
import { FakeBroker } from './fake-broker.ts'
import { FakePostgres } from './fake-postgres.ts'
import { deadLetterFaults, faults, meddling, type Stage } from './faults.ts'
import { covers, describe, Truth } from './truth.ts'
import { VirtualTime } from './virtual-time.ts'
import { Workload } from './workload.ts'
import type { Profile } from './world.ts'

export interface HistoryResult {
  readonly seed: number
  /** What was broken; undefined when all held. */
  readonly violation: string | undefined
  readonly halted: boolean
  readonly events: number
  readonly deliveries: number
  readonly repeats: number
  readonly deadLetters: number
  readonly stores: number
  readonly undone: number
  /** Moments that the scheduler ran, and the virtual milliseconds that they span. */
  readonly steps: number
  readonly duration: number
  readonly faults: ReadonlyMap<string, number>
  readonly profile: Profile
}

/** Virtual milliseconds within which everything has to be delivered and stored once nothing is broken any more. */
const recovery_ms = 90_000
/** Virtual milliseconds for a bridge to notice that it must halt. */
const halting_ms = 20_000

/** Virtual milliseconds after which every connection on which nothing passes has been given up. */
const unnoticed_ms = 10_000

/** Codes with which the bridge may halt after somebody moved the slot, or a failover without it. */
const expectedHalts: readonly string[] = ['SLOT_AHEAD', 'SLOT_MISSING']

/** One history: applications write, things break, then all heals. The seed decides everything. Never rejects. */
export async function runHistory(seed: number): Promise<HistoryResult> {
  const history = new History(seed)
  try {
    await history.run()
  } catch (error) {
    history.stage.truth.breach('error', error instanceof Error ? (error.stack ?? error.message) : String(error))
  } finally {
    history.stage.time.restore()
  }
  return history.result()
}

class History {
  readonly stage: Stage
  readonly #seed: number
  readonly #faults = new Map<string, number>()
  #halted = false
  #names = 0

  constructor(seed: number) {
    this.#seed = seed
    const random = new SeededRandom(seed)
    const profile = chooseProfile(random)
    const time = new VirtualTime(random)
    const postgres: FakePostgres = new FakePostgres(() => this.stage)
    const truth = new Truth(profile, (id) => postgres.deadLetters.has(id))
    const hosts: BridgeHost[] = []
    const world = { time, random, profile, truth, postgres, broker: new FakeBroker() }
    postgres.onOwned = (by, position, isClaim) => {
      for (const host of hosts) if (host.name === by) host.owned(position, isClaim)
    }
    const startAgain = (index: number) => {
      if (hosts[index]?.owner.alive) return
      hosts[index] = new BridgeHost(world, `${'AB'[index]}${++this.#names}`)
      hosts[index].start()
    }
    this.stage = { ...world, workload: new Workload(world), hosts, startAgain }
  }

  async run(): Promise<void> {
    const { time, profile, broker, postgres } = this.stage
    time.install()
    broker.nackChance = profile.nackChance
    postgres.isMeddledWith = profile.meddles
    for (let index = 0; index < profile.bridges; index++) this.stage.startAgain(index)
    const until = this.#plan()
    await this.#while(() => time.now < until)
    this.#heal()
    if (postgres.isUnsafe) await this.#expectHalt()
    else await this.#expectAll()
  }

  result(): HistoryResult {
    const { truth, time, profile } = this.stage
    return {
      seed: this.#seed,
      violation: truth.violation,
      halted: this.#halted,
      ...truth.figures,
      undone: truth.undone.size,
      steps: time.steps,
      duration: time.now,
      faults: this.#faults,
      profile,
    }
  }

  /** Puts the statements of the applications and the faults on the time line. Returns when it is over. */
  #plan(): number {
    const { time, random, workload, postgres } = this.stage
    const length = random.between(500, 5000)
    for (let statements = random.between(8, 40); statements > 0; statements--)
      time.post(random.between(0, length), undefined, () => workload.step())
    for (let burst = random.between(0, 2); burst > 0; burst--)
      time.post(random.between(0, length), undefined, () => workload.commitAll())
    for (let saves = random.between(0, 3); saves > 0; saves--)
      time.post(random.between(0, length), undefined, () => postgres.saveSlot())
    for (let count = random.between(0, 6); count > 0; count--)
      time.post(random.between(0, length - 1), undefined, () => this.#break())
    // What a lease is for takes two bridges and a long pause at the wrong moment.
    if (this.stage.profile.bridges === 2 && random.chance(0.3))
      time.post(random.between(0, length - 1), undefined, () => this.#break('stop'))
    return length
  }

  #break(chosen?: string): void {
    const { random, profile, hosts } = this.stage
    const choice = { ...faults, ...(!profile.calm && deadLetterFaults), ...(profile.meddles && meddling) }
    const names = Object.keys(choice)
    const name = chosen ?? names[random.between(0, names.length - 1)]!
    this.#faults.set(name, (this.#faults.get(name) ?? 0) + 1)
    choice[name]!(this.stage, random.between(0, hosts.length - 1))
    this.stage.postgres.noteDanger()
  }

  /** Ends all faults that last. What is on its way to heal by itself does so later, and once more. */
  #heal(): void {
    const { broker, postgres, hosts, time, workload } = this.stage
    broker.running = broker.bound = true
    broker.silent = false
    broker.nackChance = 0
    broker.setBlocked(false)
    postgres.keepFails = postgres.isMeddledWith = false
    if (!postgres.running) postgres.start()
    workload.commitAll()
    for (const { owner } of hosts) if (owner.stopped) time.proceed(owner)
    this.#restart()
  }

  /** Somebody starts what is dead, and starts anew what has halted. */
  #restart(): void {
    const { hosts, startAgain } = this.stage
    hosts.forEach((host, index) => {
      if (host.supervisor.state === 'halted') host.kill(false)
      startAgain(index)
    })
  }

  /** I1, I8, G8: everything is delivered or kept, stored, and the slot is told; also of WAL that is not for us. */
  async #expectAll(): Promise<void> {
    const { time, truth, postgres } = this.stage
    const end = truth.committed.findLast(({ events }) => events.length > 0)?.endLsn ?? 0n
    const deadline = time.now + recovery_ms
    const isDone = () => postgres.row.position.lsn >= end
    await this.#while(() => time.now < deadline && !isDone())
    if (truth.violation !== undefined) return
    const [lost] = truth.unhandled
    if (!isDone() || lost !== undefined) {
      const states = this.stage.hosts.map(
        ({ name, supervisor, sink, owner }) =>
          `${name} ${owner.alive ? supervisor.state : 'dead'}/${sink.state} (${supervisor.reason?.code} ${supervisor.reason?.message})`,
      )
      return truth.breach('I1/I8', `${recovery_ms} ms on: lost ${lost && describe(lost)}, ${states.join(', ')}`)
    }
    if (this.stage.random.chance(0.05)) await this.#expectNoRepeats()
    else if (this.stage.random.chance(0.1)) await this.#expectIdleProgress()
  }

  /** G8: WAL of other tables moves the slot. */
  async #expectIdleProgress(): Promise<void> {
    const { time, truth, postgres } = this.stage
    const idle = postgres.walEnd
    postgres.write(3_000_000n)
    // At the start of a segment the bridge waits for more, because archive_timeout may have brought it there.
    if ((postgres.walEnd + 4000n) % 0x100000n < 8000n) postgres.write(16_000n)
    const idleDeadline = time.now + 30_000
    await this.#while(() => time.now < idleDeadline && postgres.slot.confirmed <= idle)
    if (postgres.slot.confirmed <= idle) truth.breach('G8', 'the slot did not advance while the outbox was idle')
  }

  /** G5: a graceful stop with nothing broken leaves nothing that a start would repeat. */
  async #expectNoRepeats(): Promise<void> {
    const { time, truth, postgres, hosts, workload, random } = this.stage
    // A connection on which nothing passes may not be noticed yet.
    const quietAt = time.now + unnoticed_ms
    await this.#while(() => time.now < quietAt)
    for (let statements = random.between(1, 8); statements > 0; statements--) workload.step()
    workload.commitAll()
    const stopAt = time.now + random.between(0, 60)
    await this.#while(() => time.now < stopAt)
    const stopped = [...hosts]
    const active = stopped.find(({ supervisor }) => supervisor.state === 'streaming')
    for (const host of stopped) host.terminate()
    const deadline = time.now + 10_000
    const isRunning = ({ owner, report }: BridgeHost) => owner.alive && report === undefined
    await this.#while(() => time.now < deadline && stopped.some(isRunning))
    if (stopped.some(isRunning)) truth.breach('G5', 'a bridge did not end when it was stopped')
    // One that is killed while it stops, or is not the active one, has promised nothing.
    if (active?.report === undefined || postgres.lastClaim?.by !== active.name) return
    if (!active.report.drained) truth.breach('G5', `${active.name} was stopped and not drained`)
    for (const event of truth.events.values()) {
      const isDelivered = truth.delivered.first.has(event.id) && !truth.undone.has(event.id)
      if (isDelivered && !covers(postgres.row.position, event))
        truth.breach('G5', `after a graceful stop ${describe(event)} would be repeated`)
    }
  }

  /** I9: it halts with the code that the manual names, tells the slot nothing more, and stores nothing more. */
  async #expectHalt(): Promise<void> {
    const { time, truth, postgres, hosts } = this.stage
    const { confirmed, exists } = postgres.slot
    const { version } = postgres.row
    const deadline = time.now + halting_ms
    const isHalted = () => hosts.every(({ supervisor }) => supervisor.state === 'halted')
    await this.#while(() => time.now < deadline && !isHalted() && postgres.isUnsafe)
    this.#halted = isHalted()
    if (truth.violation !== undefined) return
    if (!postgres.isUnsafe) {
      this.#halted = false
      this.#restart()
      return this.#expectAll()
    }
    if (!this.#halted) return truth.breach('I9', `not halted, though the slot ${exists ? 'is ahead' : 'is missing'}`)
    if (postgres.slot.confirmed !== confirmed) truth.breach('I9', 'the slot was moved by a bridge that must halt')
    if (postgres.row.version !== version) {
      // A store that was on its way when the slot was moved is fine, as long as it covers nothing that was skipped.
      truth.checkCovered(postgres.row.position, 'stored')
    }
  }

  /** Steps while `condition` holds, nothing is broken and no bridge halts without a reason. */
  async #while(condition: () => boolean): Promise<void> {
    const { time, truth, postgres, hosts } = this.stage
    while (truth.violation === undefined && condition() && (await time.step())) {
      for (const { supervisor, sink, owner, name } of hosts) {
        if (!owner.alive || supervisor.state !== 'halted') continue
        const reason = supervisor.reason
        const isExpected =
          sink.reason?.code === 'DEAD_LETTER_STORE_FAILED' ||
          (expectedHalts.includes(reason?.code ?? '') && postgres.wasUnsafe)
        if (!isExpected) truth.breach('halt', `${name} halted with ${reason?.code}: ${reason?.message}`)
      }
    }
  }
}

function chooseProfile(random: SeededRandom): Profile {
  const calm = random.chance(0.35)
  return {
    order: random.chance(0.5) ? 'commit' : 'aggregate',
    scope: random.chance(0.5) ? 'event' : 'aggregate',
    calm,
    windowMessages: random.chance(0.5) ? random.between(2, 6) : 100,
    aggregates: random.between(1, 4),
    nackChance: calm || random.chance(0.3) ? 0 : random.next() * 0.3,
    oddChance: random.next() * 0.25,
    sendsEmpty: random.chance(0.5),
    slowChance: random.chance(0.5) ? 0.005 : 0.05,
    bridges: random.chance(0.5) ? 1 : 2,
    meddles: random.chance(0.03),
  }
}
