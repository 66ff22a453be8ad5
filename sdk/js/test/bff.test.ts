import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { createClient, type BffClientOptions, type Client, type Demand, type LatchkeyError, type SessionChange } from '../src/bff.js'
import { createClient as createTokenClient, memoryStorage } from '../src/index.js'
import { startServer, type TestServer } from './server.js'

let server: TestServer
let folder: string
let users = 0
const clients: Client[] = []
afterEach(() => {
  for (const client of clients.splice(0)) client.dispose()
})

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'latchkey-bff-'))
  writeFileSync(join(folder, 'index.html'), '<title>App</title>')
  server = await startServer('-bff', folder, '-access-token-ttl', '30s')
})
afterAll(async () => {
  await server.stop()
  rmSync(folder, { recursive: true })
})

/** A browser: it keeps the cookie, and sees every response as a script sees it. */
class Browser {
  cookie = ''
  readonly seen: string[] = []
  /** The requests, such as `GET /auth/session`. */
  readonly requests: string[] = []
  /** Runs before a request is sent. */
  before: (request: Request) => void | Promise<void> = () => undefined

  readonly fetch = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const request = new Request(input, init)
    const { pathname, search } = new URL(request.url)
    this.requests.push(`${request.method} ${pathname}${search}`)
    const sent = this.cookie
    await this.before(request)
    if (sent) request.headers.set('cookie', sent)
    request.headers.set('sec-fetch-site', 'same-origin')
    const response = await fetch(request)
    for (const line of response.headers.getSetCookie()) this.cookie = line.includes('Max-Age=0') ? '' : (line.split(';')[0] ?? '')
    this.seen.push([...response.headers].filter(([name]) => name !== 'set-cookie').join('\n'), await response.clone().text())
    return response
  }

  open(options: BffClientOptions = {}) {
    const client = createClient({ base: `${server.app}/auth`, fetch: this.fetch, retryWindow: 3000, autoRefresh: false, ...options })
    const changes: SessionChange[] = []
    client.onSessionChange((change) => changes.push(change))
    clients.push(client)
    return { client, changes }
  }
}

async function newApp(options: BffClientOptions = {}) {
  const user = `bff-user-${++users}`
  const browser = new Browser()
  const tab = browser.open(options)
  return { user, browser, ...tab, signIn: async (claims?: object) => tab.client.createSession(await server.clientToken(user, claims)) }
}

const failure = (promise: Promise<unknown>) => promise.then(() => expect.fail('it succeeded'), (error: unknown) => error as LatchkeyError)
const events = (changes: SessionChange[]) => changes.map(({ event }) => event)

describe('a session at a back end', () => {
  test('is undefined until the back end has reported it, then null, then what the token says', async () => {
    const { client, changes, user, signIn, browser } = await newApp()
    expect(client.session).toBeUndefined()
    await client.ready
    expect(client.session).toBeNull()
    const session = await signIn({ amr: ['pwd'] })
    expect(session).toMatchObject({ user: { id: user }, acr: 'urn:latchkey:acr:1', amr: ['pwd'], claims: { sub: user } })
    expect(client.session).toBe(session)
    expect(session.expiresAt.getTime()).toBeGreaterThan(Date.now())
    expect(events(changes)).toEqual(['signed-in'])
    const reload = browser.open().client
    await reload.ready
    expect(reload.session).toEqual(session)
    expect(await server.sessions(user)).toHaveLength(1)
  })

  test('is the same as with tokens in the page', async () => {
    const { user, signIn } = await newApp()
    const session = await signIn({ amr: ['pwd'] })
    const tokens = createTokenClient({ issuer: server.issuer, clientId: server.clientId, storage: memoryStorage(), autoRefresh: false })
    const other = await tokens.createSession(await server.clientToken(user, { amr: ['pwd'] }), { audience: ['web', 'https://api.example.com'] })
    expect(Object.keys(session)).toEqual(Object.keys(other))
    expect(Object.keys(session.claims).sort()).toEqual(Object.keys(other.claims).sort())
  })

  test('is created once for a client token', async () => {
    const { client, user, browser } = await newApp()
    const token = await server.clientToken(user)
    const [a, b] = await Promise.all([client.createSession(token), client.createSession(token)])
    expect(a.id).toBe(b.id)
    expect(browser.requests.filter((r) => r === 'POST /auth/session')).toHaveLength(1)
    expect(await server.sessions(user)).toHaveLength(1)
  })

  test('needs a valid client token, and explains a refusal', async () => {
    const { client, user } = await newApp()
    const token = await server.clientToken(user)
    expect(await failure(client.createSession(token.slice(0, -4) + 'AAAA'))).toMatchObject({ code: 'invalid_request', status: 400, retryable: false, reason: 'subject_token_signature' })
    expect(await failure(client.createSession(token, { scope: 'profile' }))).toMatchObject({ code: 'invalid_option' })
    expect(await failure(client.createSession(token, { audience: 'x' }))).toMatchObject({ code: 'invalid_option' })
    expect(await failure(client.refreshSession())).toMatchObject({ code: 'not_signed_in' })
  })

  test('is refreshed on request, and read from then on', async () => {
    const { client, changes, user, signIn } = await newApp()
    const first = await signIn()
    const second = await client.refreshSession()
    expect(second.claims['jti']).not.toBe(first.claims['jti'])
    expect(client.session).toBe(second)
    expect(events(changes)).toEqual(['signed-in', 'refreshed'])
    expect((await server.sessions(user))[0]?.generation).toBe(1)
  })

  test('is looked at when its access token expires, unless autoRefresh is false', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    try {
      for (const autoRefresh of [true, false]) {
        const { browser, client, signIn } = await newApp({ autoRefresh, retryWindow: 60_000 })
        await signIn()
        const looks = () => browser.requests.filter((r) => r === 'GET /auth/session').length
        const before = looks()
        await vi.advanceTimersByTimeAsync(25_000)
        expect(looks()).toBe(before)
        await vi.advanceTimersByTimeAsync(6_000)
        expect(looks()).toBe(before + (autoRefresh ? 1 : 0))
        client.dispose()
      }
    } finally {
      vi.useRealTimers()
    }
  })

  test('gives no token to scripts', async () => {
    const { client, browser, signIn, user } = await newApp()
    await signIn()
    await client.refreshSession()
    await client.stepUp(await server.clientToken(user, { amr: ['otp'] }))
    await client.listSessions()
    await client.fetch('/api/whoami')
    expect(await failure(client.getToken())).toMatchObject({ code: 'no_tokens', retryable: false })
    expect(browser.seen.length).toBeGreaterThan(8)
    expect(browser.seen.join('\n')).not.toMatch(/eyJ|lk_[a-z]+_/)
    expect(browser.seen.join('\n')).not.toContain(browser.cookie.split('=')[1])
  })
})

describe('fetch through a back end', () => {
  test('sends a request to an API, which gets the token of the user', async () => {
    const { client, user, signIn } = await newApp()
    await signIn({ amr: ['pwd'] })
    expect(await (await client.fetch('/api/whoami')).json()).toEqual({ user, acr: 'urn:latchkey:acr:1' })
  })

  test('leaves other origins alone', async () => {
    const { client, browser, signIn } = await newApp()
    await signIn()
    const sent = browser.requests.length
    expect(await failure(client.fetch('https://evil.example.com/'))).toMatchObject({ code: 'invalid_option' })
    expect(await failure(client.fetch('/api/whoami', { audience: 'x' }))).toMatchObject({ code: 'invalid_option' })
    expect(browser.requests).toHaveLength(sent)
  })

  test('answers a step-up challenge, and sends the request again with its body', async () => {
    const demands: Demand[] = []
    const { client, browser, user, changes, signIn } = await newApp({
      onChallenge: async (demand) => {
        demands.push(demand)
        return server.clientToken(user, { amr: ['otp'] })
      },
    })
    await signIn({ amr: ['pwd'] })
    const before = browser.cookie
    const response = await client.fetch('/api/pay', { method: 'POST', body: '{}' })
    expect(response.status).toBe(200)
    expect(await response.json()).toEqual({ user, acr: 'urn:latchkey:acr:2' })
    expect(demands).toEqual([{ acrValues: ['urn:latchkey:acr:2'] }])
    expect(browser.cookie).not.toBe(before)
    expect(events(changes)).toEqual(['signed-in', 'stepped-up'])
  })

  test('returns the challenge if the user declines', async () => {
    const { client, signIn } = await newApp({ onChallenge: async () => undefined })
    await signIn({ amr: ['pwd'] })
    expect((await client.fetch('/api/pay', { method: 'POST' })).status).toBe(401)
    expect(client.session).not.toBeNull()
  })

  test('learns that the session has ended, and why', async () => {
    const { client, changes, user, signIn } = await newApp()
    const { id } = await signIn()
    const elsewhere = createTokenClient({ issuer: server.issuer, clientId: server.clientId, storage: memoryStorage(), autoRefresh: false })
    await elsewhere.createSession(await server.clientToken(user))
    await elsewhere.revokeSession(id)
    await vi.waitFor(async () => expect((await client.fetch('/api/whoami')).status).toBe(401), { timeout: 5000 })
    expect(client.session).toBeNull()
    expect(changes.at(-1)).toEqual({ event: 'ended', session: null, reason: 'revoked_by_user' })
    expect(await failure(client.refreshSession())).toMatchObject({ code: 'session_ended', endReason: 'revoked_by_user', retryable: false })
  })

  test('sends a request again whose cookie another tab has replaced by signing in', async () => {
    const { browser, client, user, signIn } = await newApp()
    await signIn()
    browser.before = async (request) => {
      if (!request.url.endsWith('/api/whoami')) return
      browser.before = () => undefined
      await browser.open().client.createSession(await server.clientToken(user))
    }
    const response = await client.fetch('/api/whoami')
    expect(response.status).toBe(200)
    expect(client.session).not.toBeNull()
  })
})

describe('tabs at a back end', () => {
  test('learn of signing in, stepping up and signing out', async () => {
    const { browser, client, changes, user, signIn } = await newApp()
    const other = browser.open()
    await other.client.ready
    await signIn({ amr: ['pwd'] })
    await vi.waitFor(() => expect(other.client.session).toEqual(client.session))
    await other.client.stepUp(await server.clientToken(user, { amr: ['otp'] }))
    await vi.waitFor(() => expect(client.session?.acr).toBe('urn:latchkey:acr:2'))
    await client.signOut()
    expect(client.session).toBeNull()
    await vi.waitFor(() => expect(other.client.session).toBeNull())
    expect(events(changes)).toEqual(['signed-in', 'stepped-up', 'signed-out'])
    expect(events(other.changes)).toEqual(['signed-in', 'stepped-up', 'signed-out'])
    expect(browser.cookie).toBe('')
    await vi.waitFor(async () => expect(await server.sessions(user)).toEqual([]))
  })

  test('learn from each other why a session has ended', async () => {
    const { browser, client, user, signIn } = await newApp()
    const other = browser.open()
    const { id } = await signIn()
    await vi.waitFor(() => expect(other.client.session?.id).toBe(id))
    const elsewhere = createTokenClient({ issuer: server.issuer, clientId: server.clientId, storage: memoryStorage(), autoRefresh: false })
    await elsewhere.createSession(await server.clientToken(user))
    await elsewhere.revokeSession(id)
    expect(await failure(client.refreshSession())).toMatchObject({ code: 'session_ended', endReason: 'revoked_by_user' })
    await vi.waitFor(() => expect(other.changes.at(-1)).toEqual({ event: 'ended', session: null, reason: 'revoked_by_user' }))
  })

  test('keep the session when their requests meet a step-up of another tab', async () => {
    const { browser, client, changes, user, signIn } = await newApp()
    await signIn({ amr: ['pwd'] })
    const other = browser.open()
    await other.client.ready
    // The step-up is carried out, and its new cookie is still under way.
    await server.control('/bff/answers', { hold: 1 })
    const stepUp = client.stepUp(await server.clientToken(user, { amr: ['otp'] }))
    await server.control('/bff/answers/held', {})
    const read = other.client.listSessions()
    await new Promise((resolve) => setTimeout(resolve, 300))
    await server.control('/bff/answers/release', {})
    await stepUp
    expect(await read).toHaveLength(1)
    expect(events(changes)).toEqual(['signed-in', 'stepped-up'])
    expect(events(other.changes)).not.toContain('signed-out')
  })
})

describe('faults between the page, its back end and the server', () => {
  test('an answer of the back end that is lost costs nothing', async () => {
    const { client, changes, user, signIn } = await newApp()
    for (const run of [() => signIn({ amr: ['pwd'] }), async () => client.stepUp(await server.clientToken(user, { amr: ['otp'] })), () => client.refreshSession()]) {
      await server.control('/bff/answers', { lose: 1 })
      await run()
    }
    expect(client.session?.acr).toBe('urn:latchkey:acr:2')
    expect(events(changes)).toEqual(['signed-in', 'stepped-up', 'refreshed'])
    expect(await server.sessions(user)).toHaveLength(1)
  })

  test('an answer of the server that is lost costs nothing', async () => {
    const { client, user, signIn } = await newApp()
    await signIn({ amr: ['pwd'] })
    await server.control('/answers', { lose: 1 })
    await client.refreshSession()
    await server.control('/answers', { lose: 1 })
    expect(await client.stepUp(await server.clientToken(user, { amr: ['otp'] }))).toMatchObject({ acr: 'urn:latchkey:acr:2' })
    expect((await server.sessions(user))[0]?.live_chains).toBe(1)
  })

  test('a slow answer from before signing out is dropped', async () => {
    const { client, signIn } = await newApp()
    await signIn()
    await server.control('/bff/answers', { hold: 1 })
    const refresh = client.refreshSession()
    await server.control('/bff/answers/held', {})
    await client.signOut()
    await server.control('/bff/answers/release', {})
    expect(await failure(refresh)).toMatchObject({ code: 'not_signed_in' })
    expect(client.session).toBeNull()
  })

  test('a back end that does not respond signs nobody out', async () => {
    const { client, browser, signIn } = await newApp({ retryWindow: 500 })
    const session = await signIn()
    browser.before = () => Promise.reject(new TypeError('network error'))
    for (const call of [() => client.refreshSession(), () => client.signOut(), () => client.listSessions()]) {
      expect(await failure(call())).toMatchObject({ code: 'unavailable', retryable: true })
    }
    expect(client.session).toBe(session)
    browser.before = () => undefined
    await client.signOut()
    expect(client.session).toBeNull()
  })

  test('a page that opens while the back end is away learns of its session later', async () => {
    const { browser, signIn } = await newApp()
    const { id } = await signIn()
    browser.before = () => Promise.reject(new TypeError('network error'))
    const { client } = browser.open({ retryWindow: 300 })
    await new Promise((resolve) => setTimeout(resolve, 600))
    expect(client.session).toBeUndefined()
    browser.before = () => undefined
    await client.ready // after a pause of 5 s
    expect(client.session?.id).toBe(id)
  })

  test('a base that does not exist is reported', async () => {
    const { client } = new Browser().open({ base: `${server.app}/nowhere`, retryWindow: 500 })
    expect(await failure(client.ready)).toMatchObject({ code: 'unavailable', status: 404 })
    const rendered = createClient()
    expect(rendered.session).toBeUndefined()
    expect(await failure(rendered.signOut())).toMatchObject({ code: 'invalid_option' })
  })
})

describe('the user’s sessions through a back end', () => {
  test('are listed, and signed out', async () => {
    const { client, user, signIn, browser } = await newApp()
    const session = await signIn()
    const elsewhere = new Browser().open().client
    await elsewhere.createSession(await server.clientToken(user), { deviceName: 'Laptop' })
    const list = await client.listSessions()
    expect(list.map(({ id, current }) => [id === session.id, current]).sort()).toEqual([[false, false], [true, true]])
    const other = list.find(({ current }) => !current)!
    expect(other.device.name).toBe('Laptop')
    await client.revokeSession(other.id)
    expect(await server.sessions(user)).toHaveLength(1)
    await new Browser().open().client.createSession(await server.clientToken(user))
    await client.signOut({ scope: 'others' })
    expect((await server.sessions(user)).map(({ id }) => id)).toEqual([session.id])
    await new Browser().open().client.createSession(await server.clientToken(user))
    await client.signOut({ scope: 'all' })
    expect(await server.sessions(user)).toEqual([])
    expect([client.session, browser.cookie]).toEqual([null, ''])
  })
})
