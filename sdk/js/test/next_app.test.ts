// Installs the packed SDK into examples/next-app, builds it, and uses it in Chromium. NEXT_APP names a folder
// where that was done before.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { pause } from './browser.js'
import { followTime, startServer, type TestServer } from './server.js'

const SDK = join(import.meta.dirname, '..')
/** The shortest life of an access token that the server allows, in seconds. The SDK replaces it 10 to 12 s before its end. */
const TTL = 30
let server: TestServer
let browser: Browser
let origin: string
let app: ChildProcess
let output = ''
let users = 0
/** Users who have signed in before the first test, so that their tokens are due by now. */
let early: Awaited<ReturnType<typeof signIn>>[]
let signedInAt: number
let stopClock: () => void
const folder = process.env['NEXT_APP'] ?? mkdtempSync(join(tmpdir(), 'latchkey-next-'))

/** The authentication service of the app. */
const authentication = createServer((request, response) => {
  let body = ''
  request.on('data', (chunk: Buffer) => (body += chunk.toString()))
  request.on('end', () => {
    const form = new URLSearchParams(body)
    void server.clientToken(form.get('sub')!, { amr: [form.get('amr')] }).then((token) => response.end(token))
  })
})

function build(): void {
  const run = (program: string, args: string[], cwd = folder) => execFileSync(program, args, { cwd, stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, NEXT_TELEMETRY_DISABLED: '1' } })
  cpSync(join(SDK, '../../examples/next-app'), folder, { recursive: true, filter: (path) => !/node_modules|\.next/.test(path) })
  run('npm', ['pack', '--silent', '--pack-destination', folder], SDK)
  const file = join(folder, 'package.json')
  writeFileSync(file, readFileSync(file, 'utf8').replace('file:../../sdk/js', 'file:latchkey-sdk-0.0.0.tgz'))
  run('npm', ['install', '--silent', '--no-audit', '--no-fund', '--prefer-offline'])
  run('npm', ['run', 'build'])
}

beforeAll(async () => {
  if (!process.env['NEXT_APP']) build()
  server = await startServer('-status-list', '-access-token-ttl', `${TTL}s`)
  stopClock = followTime(server)
  const listen = async (http: ReturnType<typeof createServer>) => {
    await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
    return (http.address() as AddressInfo).port
  }
  const free = createServer()
  const [port, authenticationPort] = [await listen(free), await listen(authentication)]
  await new Promise((resolve) => free.close(resolve))
  origin = `http://127.0.0.1:${port}`
  app = spawn(process.execPath, ['node_modules/next/dist/bin/next', 'start', '--hostname', '127.0.0.1', '--port', String(port)], {
    cwd: folder,
    env: {
      ...process.env, NODE_ENV: 'production', NEXT_TELEMETRY_DISABLED: '1',
      LATCHKEY_ISSUER: server.issuer, LATCHKEY_CLIENT_ID: server.clientId, AUTHENTICATION_URL: `http://127.0.0.1:${authenticationPort}`,
    },
  })
  for (const stream of [app.stdout, app.stderr]) stream?.on('data', (chunk: Buffer) => (output += chunk.toString()))
  for (let i = 0; ; i++) {
    if (await fetch(origin).then((response) => response.ok, () => false)) break
    if (i > 300) throw new Error(`next start does not respond: ${output}`)
    await pause(200)
  }
  browser = await chromium.launch({ executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] })
  early = []
  for (let i = 0; i < 6; i++) {
    early.push(await signIn())
    await early[i]!.page.goto('about:blank') // the client component refreshes too
  }
  signedInAt = Date.now()
}, 900_000)

afterAll(async () => {
  if (process.env['NEXT_APP_OUTPUT']) console.log(output)
  await browser.close()
  app.kill()
  authentication.close()
  stopClock()
  await server.stop()
  if (!process.env['NEXT_APP']) rmSync(folder, { recursive: true })
})

async function signIn(options: { javaScriptEnabled?: boolean } = {}, next = ''): Promise<{ context: BrowserContext; page: Page; user: string }> {
  const user = `user-${++users}`
  const context = await browser.newContext(options)
  const page = await context.newPage()
  await page.goto(`${origin}/sign-in${next}`)
  await page.fill('input[name=user]', user)
  await page.click('button:has-text("Sign in")')
  await page.waitForURL((url) => url.pathname !== '/sign-in')
  return { context, page, user }
}

/** Returns a user whose tokens are due: they may have expired. */
async function dueUser() {
  await pause(signedInAt + (TTL - 9) * 1000 - Date.now())
  return early.pop()!
}

const heading = (page: Page) => page.textContent('h1')
const cookieOf = async (context: BrowserContext) => (await context.cookies()).find(({ name }) => name === 'session')
const chains = async (user: string) => (await server.sessions(user)).map(({ live_chains }) => live_chains)

test('signs in, shows a protected page and the devices, and keeps tokens from scripts', async () => {
  const { context, page, user } = await signIn()
  expect(await heading(page)).toBe(`Account of ${user}`)
  await page.waitForSelector('[data-testid=life]:has-text("lives for another")')
  expect(await page.textContent('li')).toContain('Next.js example')
  expect(await cookieOf(context)).toMatchObject({ httpOnly: true, sameSite: 'Lax', path: '/' })
  expect(await page.evaluate('document.cookie')).toBe('')
  expect(await page.content()).not.toMatch(/lk_rt_|eyJ[\w-]+\.eyJ/)
  await context.close()
})

test('refreshes before render, also for a static page, and no cache may keep the response', async () => {
  const { context, page, user } = await dueUser()
  const before = (await cookieOf(context))?.value
  const response = await context.request.get(`${origin}/account`)
  expect(await response.text()).toContain(`Account of <!-- -->${user}`)
  expect([response.headers()['cache-control'], response.headers()['set-cookie']?.includes('session=')]).toEqual(['private, no-store', true])
  expect((await cookieOf(context))?.value).not.toBe(before)
  expect((await fetch(origin)).headers.get('cache-control')).toContain('s-maxage')
  const other = await dueUser()
  const home = await other.context.request.get(origin)
  expect([home.headers()['cache-control'], home.headers()['set-cookie']?.includes('session=')]).toEqual(['private, no-store', true])
  await other.context.close()
  await page.goto(`${origin}/account`)
  expect([await heading(page), await chains(user)]).toEqual([`Account of ${user}`, [1]])
  await context.close()
})

test('20 requests at once when the token is due sign nobody out', async () => {
  const { context, page, user } = await dueUser()
  const [before] = await server.sessions(user)
  const pages = await Promise.all(Array.from({ length: 20 }, async (_, i) => (await context.request.get(`${origin}/${i % 2 ? 'account' : ''}`, { headers: { purpose: 'prefetch' } })).text()))
  expect(pages.filter((text) => text.includes(`Account of <!-- -->${user}`))).toHaveLength(10)
  await page.goto(`${origin}/account`)
  const [after] = await server.sessions(user)
  expect([await heading(page), await chains(user), after!.generation - before!.generation]).toEqual([`Account of ${user}`, [1], 1])
  await context.close()
})

test('steps up', async () => {
  const { context, page, user } = await signIn({}, '?next=/transfer')
  expect(await heading(page)).toBe('One more step')
  await page.click('button:has-text("Use a code")')
  await page.waitForSelector(`h1:has-text("${user} may transfer money")`)
  await context.close()
})

test('signs out another device, which learns why, and this one', async () => {
  const { context, page, user } = await signIn()
  const phone = await browser.newContext()
  const other = await phone.newPage()
  await other.goto(`${origin}/sign-in`)
  await other.fill('input[name=user]', user)
  await other.click('button:has-text("Sign in")')
  await other.waitForURL(`${origin}/account`)
  await page.reload()
  await page.click('li button:has-text("Sign out")')
  await expect.poll(() => chains(user), { timeout: 10_000 }).toEqual([1])
  await other.goto('about:blank')
  await pause((TTL - 9) * 1000)
  await other.goto(`${origin}/account`)
  expect([new URL(other.url()).pathname, await other.textContent('[role=status]')]).toEqual(['/sign-in', 'You signed out on another device.'])
  await context.close()
  await phone.close()
})

test('signs out, also if the same request has refreshed the session before', async () => {
  const { context, page, user } = await dueUser()
  await context.route('**/auth/session', (route) => route.abort())
  const stale = await context.cookies()
  await page.goto(`${origin}/account`)
  await context.addCookies(stale) // which is due
  await page.click('main > form button:has-text("Sign out")')
  await page.waitForURL(`${origin}/`)
  expect([await cookieOf(context), await server.sessions(user)]).toEqual([undefined, []])
  await page.goto(`${origin}/account`)
  expect(new URL(page.url()).pathname).toBe('/sign-in')
  expect(await page.locator('[role=status]').count()).toBe(0)
  await context.close()
})

test('works without scripts', async () => {
  const { context, page, user } = await signIn({ javaScriptEnabled: false })
  expect(await heading(page)).toBe(`Account of ${user}`)
  await page.goto(`${origin}/transfer`)
  await page.click('button:has-text("Use a code")')
  expect(await heading(page)).toBe(`${user} may transfer money`)
  await page.goto(`${origin}/account`)
  await page.click('main > form button:has-text("Sign out")')
  expect([await heading(page), await server.sessions(user)]).toEqual(['Home', []])
  await context.close()
})

test('refuses forged requests, and leads to no other site', async () => {
  const { context, page, user } = await signIn({}, '?next=//evil.example/')
  expect(page.url()).toBe(`${origin}/account`)
  const cookie = `session=${(await cookieOf(context))!.value}`
  const status = async (path: string, headers: Record<string, string>, init: RequestInit = {}) => {
    const response = await fetch(origin + path, { redirect: 'manual', ...init, headers })
    return [response.status, response.headers.get('location')]
  }
  const bypass = { 'x-middleware-subrequest': 'proxy:proxy:proxy:proxy:proxy', 'x-middleware-override-headers': 'cookie', 'x-middleware-request-cookie': cookie }
  expect(await status('/account', bypass)).toEqual([307, '/sign-in?next=/account'])
  expect(await status('/account', { cookie: `${cookie}; ${cookie}` })).toEqual([307, '/sign-in?next=/account'])
  expect(await status('/auth/session', { cookie })).toEqual([403, null])
  expect(await status('/auth/session', { cookie, 'latchkey-csrf': '1', 'sec-fetch-site': 'cross-site' }, { method: 'DELETE' })).toEqual([403, null])
  expect(await status('/auth/session', { cookie, 'latchkey-csrf': '1', origin: 'https://evil.example' }, { method: 'DELETE' })).toEqual([403, null])
  expect(await chains(user)).toEqual([1])
  expect(output).not.toMatch(/lk_rt_|eyJ[\w-]+\.eyJ/)
  await context.close()
})

test('an outage shows an error, and keeps the session', async () => {
  const { context, page, user } = await dueUser()
  await pause(signedInAt + (TTL + 31) * 1000 - Date.now()) // the verifier tolerates clocks that differ by 30 s
  await server.control('/answers', { lose: 1000 })
  await page.goto(`${origin}/account`)
  expect(await heading(page)).toBe('Please try again')
  await server.control('/answers', { lose: 0 })
  await page.goto(`${origin}/account`)
  expect([await heading(page), await chains(user)]).toEqual([`Account of ${user}`, [1]])
  await context.close()
}, 90_000)
