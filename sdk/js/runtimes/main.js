// For Deno, Bun and Node: the server is described by the first argument.
import process from 'node:process'
import { check } from './check.js'

console.log(JSON.stringify(await check(JSON.parse(process.argv[2]))))
process.exit(0)
