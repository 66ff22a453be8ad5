// Installs the packed SDK, and runs runtimes/check.js in each runtime against the real server.
import { execFile, execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { build } from 'vite'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startServer, type TestServer } from './server.js'

const SDK = join(import.meta.dirname, '..')
const RUNTIMES = join(SDK, 'runtimes')
const WORKS = ['sign-in, refresh, sign-out', ...['feed', 'introspection', 'none', 'status-list'].map((kind) => `verification with ${kind}`)]
const folder = mkdtempSync(join(tmpdir(), 'latchkey-runtimes-'))
const servers: TestServer[] = []

/** Starts a server for one runtime, because the check moves the server's clock. */
async function describeServer(): Promise<string> {
  const server = await startServer('-status-list')
  servers.push(server)
  return JSON.stringify({ issuer: server.issuer, control: server.controlUrl, backend: server.backend })
}

beforeAll(() => {
  const run = (args: string[], cwd: string) => execFileSync('npm', args, { cwd, stdio: ['ignore', 'ignore', 'inherit'] })
  run(['pack', '--silent', '--pack-destination', folder], SDK)
  writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }')
  run(['install', '--silent', '--no-audit', '--no-fund', '--prefer-offline', './latchkey-sdk-0.0.0.tgz'], folder)
  for (const name of ['check.js', 'main.js', 'worker.js']) cpSync(join(RUNTIMES, name), join(folder, name))
})
afterAll(async () => {
  for (const server of servers) await server.stop()
  rmSync(folder, { recursive: true })
})

test.each([
  ['Node', process.execPath, []],
  ['Deno', join(RUNTIMES, 'node_modules/.bin/deno'), ['run', '--allow-net', '--allow-env', '--allow-read']],
  ['Bun', join(RUNTIMES, 'node_modules/.bin/bun'), ['run']],
])('works in %s', async (_name, program, args) => {
  const { stdout } = await promisify(execFile)(program, [...args, 'main.js', await describeServer()], { cwd: folder })
  expect(JSON.parse(stdout)).toEqual(WORKS)
})

test('works in workerd', async () => {
  const out = join(folder, 'worker')
  await build({
    root: folder, configFile: false, logLevel: 'error',
    build: { outDir: out, target: 'es2022', minify: false, rolldownOptions: { input: join(folder, 'worker.js'), preserveEntrySignatures: 'strict', output: { entryFileNames: 'worker.js' } } },
  })
  const { Miniflare } = (await import(pathToFileURL(createRequire(join(RUNTIMES, 'package.json')).resolve('miniflare')).href)) as {
    Miniflare: new (options: object) => { dispatchFetch(url: string, init: object): Promise<Response>; dispose(): Promise<void> }
  }
  const worker = new Miniflare({ modules: true, script: readFileSync(join(out, 'worker.js'), 'utf8'), compatibilityDate: '2026-07-01' })
  try {
    const response = await worker.dispatchFetch('http://worker.test/', { method: 'POST', body: await describeServer() })
    const text = await response.text()
    expect(response.status, text).toBe(200)
    expect(JSON.parse(text)).toEqual(WORKS)
  } finally {
    await worker.dispose()
  }
})
