import { randomBytes } from 'node:crypto'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { createClient, type SessionChange } from '../src/bff.js'
import { createNext, localPath, maxAge, requireAcr, type Auth, type NextOptions } from '../src/next/index.js'
import { cookieStorage, requestCookies } from '../src/server/index.js'
import { emptyState, parse, serialize } from '../src/state.js'
import { Browser } from './cookies.js'
import { startServer, type TestServer } from './server.js'

const ORIGIN = 'https://app.example.com'
const keys = randomBytes(32).toString('base64')
let server: TestServer
let users = 0

// The request that next/headers belongs to.
let current: { headers: Headers; cookies: ReturnType<typeof requestCookies>; readOnly: boolean }
vi.mock('next/headers.js', () => ({
  headers: async () => current.headers,
  cookies: async () => ({
    get: (name: string) => ({ value: current.cookies.get(name) }),
    set(name: string, value: string, attributes: never) {
      if (current.readOnly) throw new Error('Cookies can only be modified in a Server Action or Route Handler')
      current.cookies.set(name, value, attributes)
    },
  }),
}))

type Answer = (token: string) => { status: number; headers?: Record<string, string | string[]>; body?: string }
const ok: Answer = () => ({ status: 200, body: '{"ok":true}' })

/** An API that records what reaches it. */
const api = {
  url: '',
  requests: [] as { method: string; url: string; headers: IncomingHttpHeaders; body: string }[],
  answer: ok,
}
const upstream = createServer((request, response) => {
  let body = ''
  request.on('data', (chunk: Buffer) => (body += chunk.toString()))
  request.on('end', () => {
    api.requests.push({ method: request.method ?? '', url: request.url ?? '', headers: request.headers, body })
    const { status, headers, body: answer } = api.answer(request.headers.authorization?.slice(7) ?? '')
    response.writeHead(status, headers).end(answer)
  })
})

beforeAll(async () => {
  server = await startServer('-status-list')
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve))
  api.url = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}/v1/`
})
afterAll(async () => {
  upstream.close()
  await server.stop()
})

let skew = 0
beforeEach(() => {
  skew = 0
  api.requests = []
  api.answer = ok
  const real = Date.now.bind(Date)
  vi.spyOn(Date, 'now').mockImplementation(() => real() + skew)
})
afterEach(() => {
  vi.restoreAllMocks()
})
/** Makes the access token, which lives for five minutes, due. */
const makeDue = () => (skew += 285_000)

function newApp(options: Partial<NextOptions> = {}) {
  const requests: string[] = []
  const logs: string[] = []
  const next = createNext({
    issuer: server.issuer, clientId: server.clientId, cookieKeys: keys, retryWindow: 1500, logger: (line) => logs.push(line),
    upstreams: { '/api/': { url: api.url, audience: 'https://api.example.com' }, '/own/': { url: api.url } },
    fetch: async (input, init) => {
      const body = init?.body instanceof URLSearchParams ? init.body : undefined
      requests.push(body?.get('grant_type') ?? `${init?.method ?? 'GET'} ${new URL(String(input instanceof Request ? input.url : input)).pathname}`)
      return fetch(input, init)
    },
    ...options,
  })
  return { next, requests, logs, refreshes: () => requests.filter((r) => r === 'refresh_token').length }
}
type App = ReturnType<typeof newApp>

/** Runs a server action or a route handler with next/headers. */
async function inAction<T>(browser: Browser, run: () => Promise<T>): Promise<T> {
  return browser.request(async (cookies) => {
    current = { headers: browser.headers(), cookies, readOnly: false }
    return run()
  })
}

/** Sends a request through proxy.ts, and renders a page with what it hands down. */
async function visit<T>(app: App, browser: Browser, render: () => Promise<T>, more: Record<string, string> = {}) {
  const response = await app.next.proxy(new Request(`${ORIGIN}/account`, { headers: browser.headers(more) }))
  const given = new Headers({ host: 'app.example.com' })
  for (const name of (response.headers.get('x-middleware-override-headers') ?? '').split(',')) {
    const value = response.headers.get(`x-middleware-request-${name}`)
    if (value !== null) given.set(name, value)
  }
  current = { headers: given, cookies: requestCookies(given), readOnly: true }
  try {
    return { response, given, page: await render() }
  } finally {
    browser.receive(response.headers)
  }
}
const page = (app: App, browser: Browser, more?: Record<string, string>) => visit(app, browser, () => app.next.auth(), more)

async function signedIn(app: App, claims: object = { amr: ['pwd'] }) {
  const [browser, user] = [new Browser(), `next-${++users}`]
  const token = await server.clientToken(user, claims)
  const session = await inAction(browser, () => app.next.signIn(token, { deviceName: 'Laptop' }))
  return { browser, user, session }
}

const tokensOf = async (browser: Browser) => parse(await cookieStorage({ cookies: requestCookies(browser.headers()), keys }).load()).session
const only = async (user: string) => {
  const list = await server.sessions(user)
  expect(list.map(({ live_chains }) => live_chains)).toEqual([1])
  return list[0]!
}
const userOf = (auth: Auth) => auth.session?.user.id
const endAll = (user: string) => fetch(`${server.admin.server}/admin/v1/tenants/default/users/${user}/sessions`, { method: 'DELETE', headers: { authorization: `Bearer ${server.admin.key}` } })

describe('proxy.ts', () => {
  test('passes a fresh session on, without a request or a cookie', async () => {
    const app = newApp()
    const { browser, user } = await signedIn(app)
    await page(app, browser) // fetches the keys and the status list
    app.requests.length = 0
    const { response, page: auth } = await page(app, browser)
    expect([userOf(auth), app.requests, response.headers.getSetCookie(), response.headers.get('cache-control')]).toEqual([user, [], [], null])
    expect(await auth.getToken()).toBe((await tokensOf(browser))?.accessToken)
  })

  test('refreshes before render: the page and the browser get the same tokens, and no cache may keep them', async () => {
    const app = newApp()
    const { browser, user } = await signedIn(app)
    const before = await tokensOf(browser)
    makeDue()
    const { response, page: auth } = await page(app, browser)
    const after = await tokensOf(browser)
    expect(after?.generation).toBe(1)
    expect(after?.accessToken).not.toBe(before?.accessToken)
    expect([userOf(auth), await auth.getToken(), response.headers.get('cache-control')]).toEqual([user, after?.accessToken, 'private, no-store'])
    await only(user)
  })

  test('two servers that race give the browser the same successor', async () => {
    const [a, b] = [newApp(), newApp()]
    const { browser, user } = await signedIn(a)
    makeDue()
    const [other, cookie] = [new Browser(), browser.header]
    for (const pair of cookie.split('; ')) other.cookies.set(pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1))
    await Promise.all([page(a, browser), page(b, other)])
    expect((await tokensOf(other))?.refreshToken).toBe((await tokensOf(browser))?.refreshToken)
    expect([a.refreshes(), b.refreshes(), (await only(user)).generation]).toEqual([1, 1, 1])
  })

  test('20 prefetches of one server send one refresh', async () => {
    const app = newApp()
    const { browser, user } = await signedIn(app)
    makeDue()
    const pages = await Promise.all(Array.from({ length: 20 }, () => app.next.proxy(new Request(`${ORIGIN}/`, { headers: browser.headers({ 'next-router-prefetch': '1' }) }))))
    expect(app.refreshes()).toBe(1)
    for (const { headers } of pages) browser.receive(headers)
    expect([userOf((await page(app, browser)).page), (await only(user)).generation]).toEqual([user, 1])
  })

  test('a lost answer: the same refresh token yields the same successor', async () => {
    const app = newApp({ retryWindow: 900 })
    const { browser, user } = await signedIn(newApp())
    makeDue()
    await server.control('/answers', { lose: 20 })
    const cookie = browser.header
    const { page: during } = await page(app, browser)
    expect([userOf(during), browser.header]).toEqual([user, cookie]) // the access token is still valid
    await server.control('/answers', { lose: 0 })
    const { page: after } = await page(app, browser)
    expect([userOf(after), (await only(user)).generation]).toEqual([user, 1])
  })

  const problems: [string, () => Response][] = [
    ['500', () => Response.json({ error: 'server_error' }, { status: 500 })],
    ["a proxy's 502", () => new Response('<html>', { status: 502 })],
    ['503', () => Response.json({ error: 'temporarily_unavailable' }, { status: 503 })],
    ['429', () => Response.json({ error: 'slow_down' }, { status: 429 })],
    ['a captive portal', () => new Response('<html>', { headers: { 'content-type': 'text/html' } })],
    ['401 invalid_client', () => Response.json({ error: 'invalid_client' }, { status: 401 })],
    ['400 unauthorized_client', () => Response.json({ error: 'unauthorized_client' }, { status: 400 })],
    ['403', () => Response.json({ error: 'invalid_request' }, { status: 403 })],
    ['refresh_reused', () => Response.json({ error: 'invalid_grant', latchkey_reason: 'refresh_reused' }, { status: 400 })],
    ['refresh_unknown', () => Response.json({ error: 'invalid_grant', latchkey_reason: 'refresh_unknown' }, { status: 400 })],
    ['an unknown reason', () => Response.json({ error: 'invalid_grant', latchkey_reason: 'new' }, { status: 400 })],
  ]
  test.each(problems)('keeps the cookie after %s', async (name, answer) => {
    let broken = false
    const app = newApp({ retryWindow: 300, fetch: async (input, init) => (broken && init?.method === 'POST' ? answer() : fetch(input, init)) })
    const { browser, user } = await signedIn(newApp())
    await page(app, browser)
    skew += 400_000 // the access token has expired
    broken = true
    const cookie = browser.header
    const isRefused = name.startsWith('refresh_') || name === 'an unknown reason'
    const { page: during } = await visit(app, browser, () => app.next.auth().catch((error: unknown) => error as Error & { retryable: boolean }))
    // A page must not show the sign-in form while nothing is known.
    if (isRefused) expect(during).toMatchObject({ session: null })
    else expect(during).toMatchObject({ code: 'unavailable', retryable: true })
    expect(browser.header).toBe(cookie)
    broken = false
    skew = 0
    expect(userOf((await page(app, browser)).page)).toBe(user)
  })

  test('learns that the session was ended elsewhere, and why', async () => {
    const app = newApp()
    const { browser, user } = await signedIn(app)
    await endAll(user)
    makeDue()
    const { page: auth, response } = await page(app, browser)
    expect(auth).toMatchObject({ session: null, endReason: expect.stringMatching(/^revoked/) })
    expect(response.headers.get('cache-control')).toBe('private, no-store')
    expect((await page(app, browser)).page).toMatchObject({ session: null, endReason: expect.stringMatching(/^revoked/) })
    expect(app.refreshes()).toBe(1)
    await expect(auth.getToken()).rejects.toMatchObject({ code: 'not_signed_in' })
  })

  test('notices a revoked token before it expires, by introspection', async () => {
    const app = newApp({ ...server.backend, revocation: 'introspection', upstreams: {} })
    const { browser, user } = await signedIn(app)
    expect(userOf((await page(app, browser)).page)).toBe(user)
    await endAll(user)
    expect((await page(app, browser)).page).toMatchObject({ session: null, endReason: expect.stringMatching(/^revoked/) })
    expect(app.refreshes()).toBe(1)
  })

  test('a response that was under way at sign-out does not bring the session back', async () => {
    const app = newApp()
    const { browser } = await signedIn(app)
    makeDue()
    const late = await app.next.proxy(new Request(ORIGIN, { headers: browser.headers() }))
    await inAction(browser, () => app.next.signOut())
    browser.receive(late.headers)
    expect((await page(app, browser)).page.session).toBeNull()
  })

  test('signs out while the server is away, and revokes the session when it is back', async () => {
    let away = false
    const app = newApp({ retryWindow: 300, fetch: async (input, init) => (away && init?.method === 'POST' ? Promise.reject(new TypeError('away')) : fetch(input, init)) })
    const { browser, user } = await signedIn(newApp())
    away = true
    await inAction(browser, () => app.next.signOut())
    expect([await server.sessions(user), (await page(app, browser)).page.session]).toEqual([[expect.anything()], null])
    away = false
    await page(app, browser)
    expect(await server.sessions(user)).toEqual([])
    const end = browser.cookies.get('__Host-session.end')
    await page(app, browser)
    expect(browser.cookies.get('__Host-session.end')).toBe(end)
  })

  test('a change of keys signs nobody out', async () => {
    const old = newApp()
    const { browser, user } = await signedIn(old)
    const next = randomBytes(32).toString('base64')
    const rotated = newApp({ cookieKeys: [next, keys] })
    expect(userOf((await page(rotated, browser)).page)).toBe(user)
    makeDue()
    await page(rotated, browser)
    expect(userOf((await page(newApp({ cookieKeys: next }), browser)).page)).toBe(user)
    expect((await page(newApp({ cookieKeys: randomBytes(32).toString('base64') }), browser)).page.session).toBeNull()
  })

  test.each([['no cookie', ''], ['a broken cookie', '__Host-session=1~%ff; other=1'], ['an empty cookie', '__Host-session=']])('passes a request with %s on', async (_name, cookie) => {
    const response = await newApp().next.proxy(new Request(ORIGIN, { headers: { host: 'app.example.com', ...(cookie && { cookie }) } }))
    expect([response.headers.get('x-middleware-next'), response.headers.getSetCookie()]).toEqual(['1', []])
    expect(response.headers.get('x-middleware-request-cookie') ?? '').toBe(cookie)
  })

  test('refreshes in the Edge Runtime, where only pages of the Node.js runtime can be verified', async () => {
    vi.stubGlobal('EdgeRuntime', 'edge-runtime')
    try {
      const app = newApp()
      const { browser, user } = await signedIn(app)
      makeDue()
      const { page: error } = await visit(app, browser, () => app.next.auth().catch((e: unknown) => e))
      expect([(await only(user)).generation, app.logs, error]).toMatchObject([1, [], { code: 'invalid_option', retryable: false }])
    } finally {
      vi.unstubAllGlobals()
    }
  })

  test('does not wait if the browser has a newer cookie by now: the cookie of this request cannot change', async () => {
    const app = newApp({ revocation: 'none', retryWindow: 600_000 }) // longer than the test may take
    const { browser, user } = await signedIn(app)
    const late = browser.headers()
    for (let refreshes = 0; refreshes < 2; refreshes++) await call(app, browser, 'POST', '/auth/refresh')
    makeDue()
    app.requests.length = 0
    const response = await app.next.proxy(new Request(`${ORIGIN}/account`, { headers: late }))
    expect([app.refreshes(), response.headers.getSetCookie()]).toEqual([1, []])
    skew = 0
    expect(userOf((await page(app, browser)).page)).toBe(user)
    await only(user)
  })

  test('lets the app make the response', async () => {
    const app = newApp()
    const { browser } = await signedIn(app)
    makeDue()
    const response = await app.next.proxy(new Request(ORIGIN, { headers: browser.headers() }), (headers: Headers) => new Response(String(headers.get('cookie') !== browser.header)))
    expect([await response.text(), response.headers.getSetCookie().length]).toEqual(['true', 1])
  })
})

describe('auth', () => {
  test('trusts no header and no cookie of an attacker', async () => {
    const app = newApp()
    const { browser, user } = await signedIn(app)
    const stolen = await tokensOf(browser)
    const attacker = new Browser()
    const attempts: [string, Record<string, string>][] = [
      ['authorization', { authorization: `Bearer ${stolen!.accessToken}` }],
      ['middleware headers', { 'x-middleware-request-cookie': browser.header, 'x-middleware-override-headers': 'cookie', 'x-latchkey-token': stolen!.accessToken, 'x-middleware-subrequest': 'proxy:proxy:proxy:proxy:proxy' }],
      ['an unencrypted cookie', { cookie: `__Host-session=1~${Buffer.from(serialize({ ...emptyState, session: stolen })).toString('base64url')}` }],
      ['the cookie without its prefix', { cookie: browser.header.replace('__Host-session', 'session') }],
      ['a planted second cookie', { cookie: `${browser.header}; ${browser.header}` }],
    ]
    for (const [name, headers] of attempts) expect([name, (await page(app, attacker, headers)).page.session]).toEqual([name, null])
    // The same without proxy.ts, which an attacker may have found a way around.
    for (const [name, headers] of attempts) {
      current = { headers: new Headers(headers), cookies: requestCookies(new Headers(headers)), readOnly: true }
      expect([name, (await app.next.auth()).session]).toEqual([name, null])
    }
    expect(userOf((await page(app, browser)).page)).toBe(user)
  })

  test('verifies the token in the cookie', async () => {
    const app = newApp()
    const { browser } = await signedIn(app)
    const tokens = (await tokensOf(browser))!
    const change = async (accessToken: string) => {
      await browser.request(async (cookies) => {
        const storage = cookieStorage({ cookies, keys })
        await storage.commit(await storage.load(), serialize({ ...emptyState, session: { ...tokens, accessToken } }))
      })
      current = { headers: browser.headers(), cookies: requestCookies(browser.headers()), readOnly: true }
      return (await app.next.auth()).session
    }
    const [header, claims, signature] = tokens.accessToken.split('.') as [string, string, string]
    const forged = Buffer.from(JSON.stringify({ ...JSON.parse(Buffer.from(claims, 'base64url').toString()), sub: 'admin' })).toString('base64url')
    expect(await change(`${header}.${forged}.${signature}`)).toBeNull()
    const { browser: other } = await signedIn(app)
    expect(await change((await tokensOf(other))!.accessToken)).toBeNull() // a valid token of another session
    expect(await change(tokens.accessToken)).not.toBeNull()
  })

  test('reports unmet requirements, until a step-up meets them', async () => {
    const app = newApp()
    const { browser, user, session } = await signedIn(app)
    const required = () => app.next.auth(requireAcr('urn:latchkey:acr:2'), maxAge(300))
    expect((await visit(app, browser, required)).page.unmet).toEqual({ acrValues: ['urn:latchkey:acr:2'], maxAge: 300 })
    const proof = await server.clientToken(user, { amr: ['otp'] })
    await inAction(browser, () => app.next.stepUp(proof))
    const { page: after } = await visit(app, browser, required)
    expect(after).toMatchObject({ session: { id: session.id, acr: 'urn:latchkey:acr:2' }, unmet: undefined })
  })

  test('does not spend a refresh token in a server component, whose response has no cookies', async () => {
    const app = newApp()
    const { browser, user } = await signedIn(app)
    const { page: auth } = await page(app, browser)
    await expect(auth.getToken({ audience: 'https://api.example.com' })).rejects.toMatchObject({ code: 'read_only', retryable: false })
    expect([app.refreshes(), (await only(user)).generation]).toEqual([0, 0])
    const token = await inAction(browser, () => app.next.auth().then((a) => a.getToken({ audience: 'https://api.example.com' })))
    expect(JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()).aud).toBe('https://api.example.com')
    expect((await tokensOf(browser))?.generation).toBe(1)
  })

  test('refreshes in a route handler that proxy.ts does not cover', async () => {
    const later = await startServer('-status-list')
    const app = newApp({ issuer: later.issuer })
    const browser = new Browser()
    const token = await later.clientToken('alice')
    const session = await inAction(browser, () => app.next.signIn(token))
    skew += 400_000
    await later.control('/clock', { advance: '400s' })
    expect((await inAction(browser, () => app.next.auth())).session?.id).toBe(session.id)
    expect((await tokensOf(browser))?.generation).toBe(1)
    await later.stop()
  })

  test('lists and revokes sessions, also in a server component', async () => {
    const app = newApp()
    const { browser, user } = await signedIn(app)
    const other = newApp()
    const token = await server.clientToken(user)
    const phone = await inAction(new Browser(), () => other.next.signIn(token))
    const { page: list } = await visit(app, browser, () => app.next.listSessions())
    expect(list.map(({ id, current: isCurrent, device }) => [id === phone.id, isCurrent, device.name]).sort()).toEqual([[false, true, 'Laptop'], [true, false, '']])
    await inAction(browser, () => app.next.revokeSession(phone.id))
    await only(user)
  })

  test('with loopback, serves this machine only', async () => {
    const app = newApp({ loopback: true })
    const browser = new Browser()
    const token = await server.clientToken(`next-${++users}`)
    const at = async (host: string) => {
      current = { headers: new Headers({ host, cookie: browser.header }), cookies: requestCookies(new Headers({ cookie: browser.header })), readOnly: false }
      return app.next.auth().then(({ session }) => session !== null, () => false)
    }
    await browser.request(async (cookies) => {
      current = { headers: new Headers({ host: 'localhost:3000' }), cookies, readOnly: false }
      await app.next.signIn(token)
    })
    expect(browser.received.at(-1)).toMatch(/^session=.*SameSite=Lax$/)
    expect([await at('localhost:3000'), await at('127.0.0.1'), await at('[::1]:3000'), await at('app.example.com'), await at('localhost.evil.example')]).toEqual([true, true, true, false, false])
  })

  test('names a client without status_list, instead of signing everybody out', async () => {
    const app = newApp({ ...server.backend, revocation: 'status-list', upstreams: {} })
    const { browser } = await signedIn(app)
    await expect(page(app, browser)).rejects.toThrow(/status_list/)
  })
})

/** Sends a request to the handlers as a script of the app does. */
async function call(app: App, browser: Browser, method: string, path: string, body?: object | string, more: Record<string, string> = {}) {
  const headers = browser.headers({ 'latchkey-csrf': '1', origin: ORIGIN, 'sec-fetch-site': 'same-origin', ...(body !== undefined && { 'content-type': 'application/json' }), ...more })
  for (const [name, value] of Object.entries(more)) if (value === '') headers.delete(name)
  const request = new Request(ORIGIN + path, { method, headers, ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body), duplex: 'half' }) })
  const response = await app.next.handlers[method as 'GET'](request)
  browser.receive(response.headers)
  const text = await response.clone().text()
  expect(text).not.toMatch(/lk_rt_|lk_st_|eyJ[\w-]+\.eyJ/) // no token
  return { response, status: response.status, json: text.startsWith('{') ? JSON.parse(text) : text }
}

describe('handlers', () => {
  test('sign in, report, step up, refresh, list and sign out, without a token in any answer', async () => {
    const app = newApp()
    const [browser, user] = [new Browser(), `next-${++users}`]
    expect((await call(app, browser, 'GET', '/auth/session')).json).toEqual({ session: null })
    const signIn = await call(app, browser, 'POST', '/auth/session', { client_token: await server.clientToken(user, { amr: ['pwd'] }), device_name: 'Phone' })
    expect([signIn.status, signIn.response.headers.get('cache-control')]).toEqual([200, 'private, no-store'])
    expect(signIn.json.session).toMatchObject({ id: (await only(user)).id, claims: { sub: user, acr: 'urn:latchkey:acr:1' } })
    expect(signIn.json.session.expires_in).toBeGreaterThan(290)
    expect((await call(app, browser, 'POST', '/auth/step-up', { client_token: await server.clientToken(user, { amr: ['otp'] }) })).json.session.claims.acr).toBe('urn:latchkey:acr:2')
    expect((await call(app, browser, 'POST', '/auth/refresh')).status).toBe(200)
    expect((await call(app, browser, 'GET', '/auth/sessions')).json.items).toMatchObject([{ current: true, device: { name: 'Phone' } }])
    makeDue()
    expect((await call(app, browser, 'GET', '/auth/session')).json.session.claims.sub).toBe(user)
    const id = (await only(user)).id
    expect((await call(app, browser, 'DELETE', `/auth/sessions/${id}`)).status).toBe(204)
    expect(await server.sessions(user)).toEqual([])
    expect((await call(app, browser, 'GET', '/auth/session')).json).toEqual({ session: null })
    expect((await call(app, browser, 'GET', '/auth/sessions')).status).toBe(401)
  })

  test.each([
    ['without Latchkey-CSRF', { 'latchkey-csrf': '' }],
    ['from another site', { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' }],
    ['from a subdomain', { 'sec-fetch-site': 'same-site', origin: 'https://cdn.app.example.com' }],
    ['from another origin, by an old browser', { 'sec-fetch-site': '', origin: 'https://evil.example' }],
    ['from an opaque origin, by an old browser', { 'sec-fetch-site': '', origin: 'null' }],
    ['from a host that only begins like this one', { 'sec-fetch-site': '', origin: 'https://app.example.com.evil.example' }],
  ])('refuse a request %s', async (_name, headers) => {
    const app = newApp()
    const { browser, user } = await signedIn(app)
    const token = await server.clientToken(user)
    for (const [method, path, body] of [['GET', '/auth/session'], ['POST', '/auth/session', { client_token: token }], ['DELETE', '/auth/session'], ['GET', '/api/orders'], ['POST', '/api/orders', {}]] as const) {
      const { status, json } = await call(app, browser, method, path, body, headers)
      expect([method, path, status, json]).toEqual([method, path, 403, { error: 'request_forged' }])
    }
    expect(api.requests).toEqual([])
    await only(user)
  })

  test('accept a trusted origin, and refuse forms and broken bodies', async () => {
    const app = newApp({ trustedOrigins: ['https://admin.example.com'] })
    const { browser, user } = await signedIn(app)
    expect((await call(app, browser, 'GET', '/auth/session', undefined, { 'sec-fetch-site': 'same-site', origin: 'https://admin.example.com' })).status).toBe(200)
    const form = { 'content-type': 'application/x-www-form-urlencoded' }
    expect((await call(app, browser, 'POST', '/auth/session', `client_token=${await server.clientToken(user)}`, form)).status).toBe(400)
    for (const body of ['', 'null', '[]', '{', '{"client_token":7}', JSON.stringify({ client_token: 'x'.repeat(70_000) })]) {
      expect([body.slice(0, 20), (await call(app, browser, 'POST', '/auth/session', body)).status]).toEqual([body.slice(0, 20), 400])
    }
    await only(user)
  })

  test('stop reading a body that is too long', async () => {
    let read = 0
    const body = new ReadableStream({ pull: (controller) => (++read > 1000 ? controller.close() : controller.enqueue(new Uint8Array(1024))) })
    const headers = { 'latchkey-csrf': '1', origin: ORIGIN, 'sec-fetch-site': 'same-origin', 'content-type': 'application/json' }
    const request = new Request(`${ORIGIN}/auth/session`, { method: 'POST', headers, body, duplex: 'half' } as RequestInit)
    expect((await newApp().next.handlers.POST(request)).status).toBe(400)
    expect(read).toBeLessThan(100)
  })

  test('report a refused client token as the server does, an outage as 503, and a wrong secret as 502', async () => {
    const app = newApp()
    const browser = new Browser()
    const token = await server.clientToken('mallory')
    const refused = await call(app, browser, 'POST', '/auth/session', { client_token: token.slice(0, -4) + 'AAAA' })
    expect([refused.status, refused.json]).toEqual([400, { error: 'invalid_request', latchkey_reason: 'subject_token_signature' }])
    const away = newApp({ retryWindow: 200, fetch: async () => Promise.reject(new TypeError('away')) })
    const outage = await call(away, browser, 'POST', '/auth/session', { client_token: token })
    expect([outage.status, outage.json, outage.response.headers.get('retry-after')]).toEqual([503, { error: 'temporarily_unavailable' }, '1'])
    const wrong = newApp({ clientId: 'backend', clientSecret: 'wrong', revocation: 'none', upstreams: {} })
    expect((await call(wrong, browser, 'POST', '/auth/session', { client_token: token })).status).toBe(502)
    expect(wrong.logs.join()).toContain('invalid_client')
    expect(wrong.logs.join()).not.toContain(token)
  })

  test('answer login_required with the reason when the session was ended elsewhere', async () => {
    const app = newApp()
    const { browser, user } = await signedIn(app)
    await endAll(user)
    const { status, json, response } = await call(app, browser, 'GET', '/api/orders')
    expect([status, json, response.headers.get('www-authenticate')]).toEqual([401, { error: 'login_required', latchkey_end_reason: expect.stringMatching(/^revoked/) }, 'Cookie realm="session"'])
    expect((await call(app, browser, 'GET', '/auth/session')).json).toEqual({ session: null, latchkey_end_reason: expect.stringMatching(/^revoked/) })
  })

  test('are a back end of @latchkey/sdk/bff', async () => {
    const app = newApp()
    const [browser, user] = [new Browser(), `next-${++users}`]
    const seen: string[] = []
    const client = createClient({
      base: `${ORIGIN}/auth`, autoRefresh: false, retryWindow: 2000,
      onChallenge: () => server.clientToken(user, { amr: ['otp'] }),
      fetch: async (input, init) => {
        const request = new Request(input, init)
        for (const [name, value] of browser.headers({ 'sec-fetch-site': 'same-origin' })) request.headers.set(name, value)
        const response = await app.next.handlers[request.method as 'GET'](request)
        browser.receive(response.headers)
        seen.push(await response.clone().text())
        return response
      },
    })
    const changes: SessionChange[] = []
    client.onSessionChange((change) => changes.push(change))
    await client.ready
    expect(client.session).toBeNull()
    await client.createSession(await server.clientToken(user, { amr: ['pwd'] }), { deviceName: 'Tablet' })
    expect(client.session).toMatchObject({ user: { id: user }, acr: 'urn:latchkey:acr:1' })
    expect((await client.listSessions()).map(({ current, device }) => [current, device.name])).toEqual([[true, 'Tablet']])
    let challenges = 0
    api.answer = () => (challenges++ === 0 ? { status: 401, headers: { 'www-authenticate': 'Bearer error="insufficient_user_authentication", acr_values="urn:latchkey:acr:2"' } } : ok(''))
    expect((await client.fetch(`${ORIGIN}/api/orders`)).status).toBe(200)
    expect(client.session?.acr).toBe('urn:latchkey:acr:2')
    await client.refreshSession()
    await endAll(user)
    await expect(client.refreshSession()).rejects.toMatchObject({ code: 'session_ended', endReason: expect.stringMatching(/^revoked/) })
    expect(changes.map(({ event }) => event)).toEqual(['signed-in', 'stepped-up', 'refreshed', 'ended'])
    expect(seen.join()).not.toMatch(/lk_rt_|lk_st_|eyJ[\w-]+\.eyJ/)
    client.dispose()
  })

  test('keep the session of a secret client', async () => {
    const app = newApp({ ...server.backend, revocation: 'introspection', upstreams: {} })
    const { browser, user } = await signedIn(app)
    makeDue()
    expect((await call(app, browser, 'GET', '/auth/session')).json.session.claims.sub).toBe(user)
    expect((await only(user)).generation).toBe(1)
  })
})

describe('upstreams', () => {
  const aud = (token: string) => JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()).aud as unknown

  test('get a token for themselves alone, and nothing else of the session', async () => {
    const app = newApp()
    const { browser } = await signedIn(app)
    api.answer = () => ({ status: 200, headers: { 'cache-control': 'public, max-age=60', 'set-cookie': 'planted=1', 'x-middleware-rewrite': 'https://evil.example', 'access-control-allow-origin': '*', etag: '"1"', 'content-type': 'application/json' }, body: '{"ok":true}' })
    const first = await call(app, browser, 'POST', '/api/orders?page=2', { tea: 1 }, { authorization: 'Bearer planted', 'x-forwarded-for': '6.6.6.6', 'x_forwarded_for': '6.6.6.6', 'idempotency-key': 'k', 'x-middleware-subrequest': 'x' })
    expect([first.status, first.json]).toEqual([200, { ok: true }])
    const [request] = api.requests
    expect([request?.method, request?.url, request?.body, aud(request!.headers.authorization!.slice(7))]).toEqual(['POST', '/v1/orders?page=2', '{"tea":1}', 'https://api.example.com'])
    expect(Object.keys(request!.headers).filter((name) => /cookie|forwarded|csrf|middleware|origin|sec-fetch-site/.test(name))).toEqual([])
    expect(request?.headers['idempotency-key']).toBe('k')
    const headers = Object.fromEntries(first.response.headers)
    expect(headers).toMatchObject({ 'cache-control': 'private, no-store', etag: '"1"', 'x-content-type-options': 'nosniff' })
    expect(Object.keys(headers).filter((name) => /middleware|access-control/.test(name))).toEqual([])
    expect(first.response.headers.getSetCookie().filter((line) => !line.startsWith('__Host-session='))).toEqual([])
    await call(app, browser, 'GET', '/api/orders')
    expect(app.refreshes()).toBe(1) // the token for the API is kept
    await call(app, browser, 'GET', '/own/orders')
    expect(aud(api.requests.at(-1)!.headers.authorization!.slice(7))).toEqual(expect.arrayContaining(['web', 'https://api.example.com']))
  })

  test.each(['/api/../secret', '/api/%2e%2e/secret', '/api/%252e%252e/secret', '/api/..%2fsecret', '/api/..;/secret', '/api/a%5cb', '/api/%00', '/other/', '/api', '/apis/'])('do not see the path %s', async (path) => {
    const app = newApp()
    const { browser } = await signedIn(app)
    expect((await call(app, browser, 'GET', path)).status).toBe(404)
    expect(api.requests).toEqual([])
  })

  test('a rejected token is replaced once, and a request without a body is sent again', async () => {
    const app = newApp()
    const { browser } = await signedIn(app)
    await call(app, browser, 'GET', '/api/orders')
    const rejected = api.requests[0]!.headers.authorization!.slice(7)
    const challenge = { status: 401, headers: { 'www-authenticate': 'Bearer error="invalid_token"' } }
    api.answer = (token) => (token === rejected ? challenge : { status: 200, body: '{"ok":true}' })
    expect((await call(app, browser, 'GET', '/api/orders')).status).toBe(200)
    expect(api.requests).toHaveLength(3)
    api.answer = () => challenge
    const requests = app.refreshes()
    expect((await call(app, browser, 'GET', '/api/orders')).status).toBe(401)
    expect(app.refreshes() - requests).toBe(0)
  })

  test('pass a step-up challenge on, and no challenge that makes a browser prompt', async () => {
    const app = newApp()
    const { browser } = await signedIn(app)
    api.answer = () => ({ status: 401, headers: { 'www-authenticate': 'Bearer error="insufficient_user_authentication", acr_values="phr"' } })
    expect((await call(app, browser, 'GET', '/api/orders')).response.headers.get('www-authenticate')).toContain('insufficient_user_authentication')
    api.answer = () => ({ status: 401, headers: { 'www-authenticate': 'Basic realm="x"' } })
    expect((await call(app, browser, 'GET', '/api/orders')).response.headers.get('www-authenticate')).toBeNull()
  })

  test('that do not respond are 502, and a request without a session does not reach them', async () => {
    const app = newApp({ upstreams: { '/api/': { url: 'http://127.0.0.1:1/' } } })
    const { browser } = await signedIn(app)
    expect((await call(app, browser, 'GET', '/api/orders')).status).toBe(502)
    expect((await call(newApp(), new Browser(), 'GET', '/api/orders')).json).toEqual({ error: 'login_required' })
    expect(api.requests).toEqual([])
  })

  test.each([['api', 'https://a.example/'], ['/api/', 'http://a.example/'], ['/api/', 'https://a.example/x'], ['/api/', 'https://user@a.example/'], ['/api/', 'https://a.example/?q=/']])('reject the prefix %s with the URL %s', async (prefix, url) => {
    await expect(newApp({ upstreams: { [prefix]: { url } } }).next.proxy(new Request(ORIGIN))).rejects.toMatchObject({ code: 'invalid_option' })
  })
})

test.each([
  ['/account?tab=1#a', '/account?tab=1#a'], ['/', '/'],
  ['//evil.example', '/'], ['/\\evil.example', '/'], ['\\\\evil.example', '/'], ['https://evil.example', '/'], ['javascript:alert(1)', '/'], ['/\t/evil.example', '/'],
  ['/\n/evil.example', '/'], [' /account', '/'], ['account', '/'], ['', '/'], ['/x/..//evil.example', '/'], ['/.//evil.example', '/'], ['/a\\b', '/'], [undefined, '/'], [['/a'], '/'],
])('localPath(%j) is %j', (path, expected) => {
  expect(localPath(path)).toBe(expected)
})

test('options are checked when they are first used, and not at import', async () => {
  const next = createNext({ issuer: server.issuer, clientId: 'web', cookieKeys: undefined })
  await expect(next.proxy(new Request(ORIGIN))).rejects.toMatchObject({ code: 'invalid_option' })
})
