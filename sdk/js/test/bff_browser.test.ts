import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium, type Browser, type Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { build } from 'vite'
import type { Client, SessionChange } from '../src/bff.js'
import { startServer, type TestServer } from './server.js'

let browser: Browser
let server: TestServer
let folder: string

const html = `<!doctype html><title>App</title><script type="module">
  import { createClient } from '/sdk.js'
  window.changes = []
  window.client = createClient()
  window.client.onSessionChange((change) => window.changes.push(change))
  window.ready = true
</script>`

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'latchkey-bff-'))
  const result = await build({
    configFile: false, logLevel: 'error',
    build: { write: false, target: 'es2022', modulePreload: false, rolldownOptions: { input: join(import.meta.dirname, '../src/bff.ts'), preserveEntrySignatures: 'strict' } },
  })
  writeFileSync(join(folder, 'sdk.js'), (result as { output: { code: string }[] }).output[0]!.code)
  writeFileSync(join(folder, 'index.html'), html)
  server = await startServer('-bff', folder, '-access-token-ttl', '30s')
  browser = await chromium.launch({ executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu', '--no-first-run'] })
})
afterAll(async () => {
  await browser.close()
  await server.stop()
  rmSync(folder, { recursive: true })
})

type App = { client: Client; changes: SessionChange[]; ready: boolean; statuses: number[] }

/** What a script that an attacker injects can read. */
const loot = (tab: Page) =>
  tab.evaluate(async () => {
    const { client } = window as unknown as App
    const texts = [document.cookie, JSON.stringify(Object.entries(localStorage)), JSON.stringify(Object.entries(sessionStorage)), JSON.stringify(await indexedDB.databases()), JSON.stringify(client)]
    for (const [path, method] of [['session', 'GET'], ['sessions', 'GET'], ['refresh', 'POST']]) {
      texts.push(await (await fetch(`/auth/${path}`, { method: method!, headers: { 'Latchkey-CSRF': '1' } })).text())
    }
    texts.push(await (await client.fetch('/api/whoami')).text())
    return texts.join('\n')
  })

test('two tabs in Chromium keep a session whose tokens no script can read', { timeout: 150_000 }, async () => {
  const context = await browser.newContext()
  const bodies: Promise<string>[] = []
  context.on('response', (response) => {
    const lost = new Promise<string>((resolve) => setTimeout(() => resolve(''), 5000)) // some are, on purpose
    if (!response.url().endsWith('.js')) bodies.push(Promise.race([response.text().catch(() => ''), lost]))
  })
  const open = async () => {
    const tab = await context.newPage()
    await tab.goto(server.app)
    await tab.waitForFunction('window.ready')
    await tab.evaluate(() => (window as unknown as App).client.ready)
    return tab
  }
  const [one, two] = [await open(), await open()]
  const user = async (tab: Page) => tab.evaluate(() => (window as unknown as App).client.session?.user.id)
  const acr = async (tab: Page) => tab.evaluate(() => (window as unknown as App).client.session?.acr)
  const events = (tab: Page) => tab.evaluate(() => (window as unknown as App).changes.map(({ event }) => event))
  const run = (tab: Page, call: 'createSession' | 'stepUp', token: string) => tab.evaluate(([name, proof]) => (window as unknown as App).client[name as 'stepUp'](proof!).then(() => undefined), [call, token])
  const is = async (tab: Page, read: (tab: Page) => Promise<unknown>, want: unknown) => expect.poll(() => read(tab), { timeout: 10_000 }).toBe(want)

  await run(one, 'createSession', await server.clientToken('web-user', { amr: ['pwd'] }))
  await is(two, user, 'web-user')

  // Tab two uses the API all the time.
  await two.evaluate(() => {
    const app = window as unknown as App
    app.statuses = []
    setInterval(() => void app.client.fetch('/api/whoami').then(({ status }) => app.statuses.push(status)), 100)
  })

  // A lost answer.
  await server.control('/bff/answers', { lose: 1 })
  await one.evaluate(() => (window as unknown as App).client.refreshSession())

  // The access token of the back end expires.
  const before = await one.evaluate(() => (window as unknown as App).client.session?.claims['jti'])
  await new Promise((resolve) => setTimeout(resolve, 32_000))
  await expect.poll(() => two.evaluate(() => (window as unknown as App).client.session?.claims['jti']), { timeout: 10_000 }).not.toBe(before)

  // A step-up, a second one whose answer is lost, and a third whose page goes away.
  await run(one, 'stepUp', await server.clientToken('web-user', { amr: ['otp'] }))
  await is(two, acr, 'urn:latchkey:acr:2')
  await server.control('/bff/answers', { lose: 1 })
  await run(one, 'stepUp', await server.clientToken('web-user', { amr: ['otp'] }))
  await server.control('/bff/answers', { hold: 1 })
  const left = run(one, 'stepUp', await server.clientToken('web-user', { amr: ['otp'] })).catch(() => undefined)
  await server.control('/bff/answers/held', {})
  await one.goto('about:blank')
  await server.control('/bff/answers/release', {})
  await left
  await one.goto(server.app)
  await is(one, user, 'web-user')

  expect(await events(two)).not.toContain('signed-out')
  expect(await events(two)).not.toContain('ended')
  const statuses = await two.evaluate(() => (window as unknown as App).statuses)
  expect(new Set(statuses)).not.toContain(401)
  const live = await server.sessions('web-user')
  expect(live.map(({ live_chains }) => live_chains)).toEqual([1])

  // An injected script.
  const stolen = await loot(one)
  expect(stolen).toContain('"sub":"web-user"')
  expect(stolen).not.toMatch(/eyJ|lk_[a-z]+_|session=/)
  const cookies = await context.cookies()
  expect(cookies.map(({ httpOnly, sameSite }) => [httpOnly, sameSite])).toEqual([[true, 'Strict']])

  // Signing out in one tab signs out the other.
  await one.evaluate(() => (window as unknown as App).client.signOut())
  await is(two, (tab) => tab.evaluate(() => (window as unknown as App).client.session), null)
  expect((await events(two)).at(-1)).toBe('signed-out')
  expect(await context.cookies()).toEqual([])
  await expect.poll(() => server.sessions('web-user'), { timeout: 10_000 }).toEqual([])

  const seen = (await Promise.all(bodies)).join('\n')
  expect(seen).toContain('"session"')
  expect(seen).not.toMatch(/eyJ|lk_[a-z]+_/)
  const count = (status: number) => statuses.filter((s) => s === status).length
  console.log(`BFF, 2 tabs: ${statuses.length} requests through the proxy, ${count(200)} × 200, ${count(503)} × 503 while a step-up replaced the cookie, 0 sign-outs`)
})
