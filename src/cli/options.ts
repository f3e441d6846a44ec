import { type Command, Option } from 'commander'
import { type FlagSetting, parseSetting } from '../config/flag-layer.ts'
import { type LoadedConfig, loadConfig } from '../config/load.ts'
import type { CliContext } from './context.ts'

/** Flags that every command has. */
export interface ConfigFlags {
  readonly config?: string
  readonly set: readonly FlagSetting[]
}

/** Adds --config, --set and its short forms: they fill the topmost layer of the configuration, in their order. */
export function addConfigOptions(command: Command): Command {
  const settings: FlagSetting[] = []
  command
    .option('-c, --config <file>', 'configuration file (default: wal2rabbit.yaml in the working directory, if there)')
    .addOption(
      new Option('--set <key=value>', 'set any key of the configuration; may be given again')
        .default(settings, 'none')
        .argParser((text) => add(parseSetting(text))),
    )
  for (const [flag, path, help] of shortForms) {
    command.option(`${flag} <value>`, `${help} (${path})`)
    command.on(`option:${flag.slice(2)}`, (text: string) => add({ flag, path, text }))
  }
  return command

  function add(setting: FlagSetting): FlagSetting[] {
    settings.push(setting)
    return settings
  }
}

const shortForms = [
  ['--slot', 'source.slot', 'replication slot'],
  ['--table', 'source.table', 'outbox table'],
  ['--log-level', 'log.level', 'trace, debug, info, warn, error, fatal or silent'],
] as const

/** Loads the configuration for a command; from here on the context scrubs its secrets. */
export async function loadFor(context: CliContext, flags: ConfigFlags): Promise<LoadedConfig> {
  const loaded = await loadConfig({ file: flags.config, env: context.env, set: flags.set, cwd: context.cwd })
  context.scrub = loaded.scrub
  return loaded
}
