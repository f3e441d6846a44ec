import { readFileSync } from 'node:fs'

/** The version in package.json, two folders up from src/base as well as from dist/base. */
export const version: string = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version
