import { readFile } from 'node:fs/promises'

/** What a process has used so far. */
export interface ProcessUsage {
  /** User and system time of all its threads. */
  readonly cpu_seconds: number
  readonly resident_bytes: number
  /** Most resident memory since it was started; what it has now where the system keeps no such figure. */
  readonly peak_bytes: number
}

/** The unit of CPU times in /proc: USER_HZ is 100 on every Linux that Node runs on. Source: proc(5). */
const clockTicks_perSecond = 100

/**
 * Reads it from /proc, which costs the process nothing. Where there is no /proc, its own metrics are asked: the request
 * is then part of what is measured.
 */
export async function readUsage(pid: number, admin: string): Promise<ProcessUsage> {
  return process.platform === 'linux' ? readProc(pid) : readMetrics(admin)
}

async function readProc(pid: number): Promise<ProcessUsage> {
  const [stat, status] = await Promise.all([
    readFile(`/proc/${pid}/stat`, 'utf8'),
    readFile(`/proc/${pid}/status`, 'utf8'),
  ])
  // The second field, the name, may hold spaces; state is the third, utime and stime are the 14th and 15th.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return {
    cpu_seconds: (Number(fields[11]) + Number(fields[12])) / clockTicks_perSecond,
    resident_bytes: kibibytes(status, 'VmRSS'),
    peak_bytes: kibibytes(status, 'VmHWM'),
  }
}

function kibibytes(status: string, name: string): number {
  const found = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)
  if (found === null) throw new Error(`/proc/…/status has no ${name}; the process has probably ended`)
  return Number(found[1]) * 1024
}

async function readMetrics(admin: string): Promise<ProcessUsage> {
  const text = await (await fetch(`${admin}/metrics`)).text()
  const value = (name: string): number => {
    const found = new RegExp(`^${name} (\\S+)`, 'm').exec(text)
    if (found === null) throw new Error(`${admin}/metrics has no ${name}`)
    return Number(found[1])
  }
  const resident_bytes = value('process_resident_memory_bytes')
  return { cpu_seconds: value('process_cpu_seconds_total'), resident_bytes, peak_bytes: resident_bytes }
}
