import { answersTarget } from './answers-target.ts'
import { commandLineTarget } from './command-line-target.ts'
import { configTarget } from './config-target.ts'
import { framesTarget } from './frames-target.ts'
import type { FuzzTarget } from './fuzz-target.ts'
import { httpTarget } from './http-target.ts'
import { pgoutputTarget } from './pgoutput-target.ts'
import { rowsTarget } from './rows-target.ts'
import { wal2jsonTarget } from './wal2json-target.ts'

export const fuzzTargets: readonly FuzzTarget[] = [
  pgoutputTarget,
  framesTarget,
  wal2jsonTarget,
  rowsTarget,
  answersTarget,
  configTarget,
  commandLineTarget,
  httpTarget,
]
