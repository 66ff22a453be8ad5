import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createClient } from '../src/index.js'
import { cookieStorage, requestCookies, type CookieStorageOptions } from '../src/server/index.js'
import { emptyState, parse, serialize, type State, type Tokens } from '../src/state.js'
import { Browser } from './cookies.js'
import { startServer, type TestServer } from './server.js'

const key = () => randomBytes(32).toString('base64')
const [first, second] = [key(), key()]
const in10Minutes = () => Math.floor(Date.now() / 1000) + 600

function session(more: Partial<Tokens> = {}): State {
  const tokens = { id: 'sid-1', generation: 1, expiresAt: in10Minutes(), scope: '', accessToken: 'a.b.c', expiresIn: 300, receivedAt: Date.now(), refreshToken: 'lk_rt_1', ...more }
  return { ...emptyState, session: tokens }
}

const load = (browser: Browser, keys: CookieStorageOptions['keys'] = first) => browser.request((cookies) => cookieStorage({ cookies, keys }).load())
const store = (browser: Browser, state: State, keys: CookieStorageOptions['keys'] = first) =>
  browser.request(async (cookies) => {
    const storage = cookieStorage({ cookies, keys })
    return storage.commit(await storage.load(), serialize(state))
  })
const sessionOf = async (browser: Browser, keys?: CookieStorageOptions['keys']) => parse(await load(browser, keys)).session

describe('cookieStorage', () => {
  test('keeps a session in a cookie that scripts and other hosts cannot read or set', async () => {
    const browser = new Browser()
    expect(await load(browser)).toBeNull()
    expect(await store(browser, session())).toBe(true)
    expect(await sessionOf(browser)).toEqual(session({ receivedAt: expect.any(Number) as number }).session)
    const [line = ''] = browser.received
    expect(line).toMatch(/^__Host-session=1~[\w.-]+; Path=\/; Max-Age=(599|600); HttpOnly; SameSite=Lax; Secure$/)
    expect(line).not.toMatch(/lk_rt_|a\.b\.c/)
  })

  test('writes only what it has compared', async () => {
    const browser = new Browser()
    await store(browser, session())
    const cookies = requestCookies(browser.headers())
    const [a, b] = [cookieStorage({ cookies, keys: first }), cookieStorage({ cookies, keys: first })]
    const before = await a.load()
    const results = await Promise.all([a.commit(before, serialize(session({ generation: 2 }))), b.commit(before, serialize(session({ generation: 3 })))])
    expect(results.filter(Boolean)).toHaveLength(1)
    expect(await a.commit(before, null)).toBe(false)
  })

  test('reads cookies of earlier keys, and writes with the first', async () => {
    const browser = new Browser()
    await store(browser, session())
    expect(await sessionOf(browser, [second, first])).toMatchObject({ id: 'sid-1' })
    await store(browser, session({ generation: 2 }), [second, first])
    expect(await sessionOf(browser, second)).toMatchObject({ generation: 2 })
    expect(await sessionOf(browser, first)).toBeNull()
  })

  test.each(['', 'short', key().slice(4), `${key()}${key()}`])('rejects the key %j', (keys) => {
    expect(() => cookieStorage({ cookies: requestCookies(new Headers()), keys })).toThrow(expect.objectContaining({ code: 'invalid_option' }))
  })

  test('accepts keys in base64url, and names without a prefix on loopback only', async () => {
    const cookies = requestCookies(new Headers())
    const keys = first.replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '')
    await cookieStorage({ cookies, keys, loopback: true }).commit(null, serialize(session()))
    expect(cookies.header).toMatch(/^session=1~/)
    const headers = new Headers()
    cookies.writeTo(headers)
    expect(headers.getSetCookie()[0]).not.toContain('Secure')
    expect(headers.get('cache-control')).toBe('private, no-store')
    expect(() => cookieStorage({ cookies, keys, name: 'session' })).toThrow(/__Host-/)
  })

  test.each([
    ['a changed cookie', (value: string) => value.replace(/.(.)$/, 'A$1') + 'A'],
    ['a cookie of another key', () => `1~${'x'.repeat(40)}`],
    ['an unencrypted cookie', () => `1~${Buffer.from(serialize(session())).toString('base64url')}`],
    ['a JWE with the algorithm none', (value: string) => value.replace(/^1~[^.]+/, `1~${Buffer.from('{"alg":"none","enc":"A256GCM"}').toString('base64url')}`)],
    ['more chunks than allowed', (value: string) => value.replace(/^1~/, '9~')],
  ])('has no session for %s', async (_name, change) => {
    const browser = new Browser()
    await store(browser, session())
    browser.cookies.set('__Host-session', change(browser.cookies.get('__Host-session')!))
    expect(await load(browser)).toBeNull()
    expect(browser.received).toHaveLength(1) // nothing is deleted
  })

  test('has no session if there are two cookies of its name, or a similar name', async () => {
    const browser = new Browser()
    await store(browser, session())
    const value = browser.cookies.get('__Host-session')!
    const stateFor = (cookie: string) => cookieStorage({ cookies: requestCookies(new Headers({ cookie })), keys: first }).load()
    expect(await stateFor(`__Host-session=${value}`)).not.toBeNull()
    expect(await stateFor(`__Host-session=${value}; __Host-session=planted`)).toBeNull()
    expect(await stateFor(`\u00a0__Host-session=${value}`)).toBeNull()
    expect(await stateFor(`=__Host-session=${value}`)).toBeNull()
    expect(await stateFor(`session=${value}`)).toBeNull()
  })

  test('does not take the cookie of one purpose for another', async () => {
    const browser = new Browser()
    await store(browser, session())
    const value = browser.cookies.get('__Host-session')!
    const moved = new Browser()
    moved.cookies.set('__Host-session.end', value.slice(2))
    expect(await load(moved)).toBeNull()
    moved.cookies.set('__Host-other', value)
    expect(await moved.request((cookies) => cookieStorage({ cookies, keys: first, name: '__Host-other' }).load())).toBeNull()
  })

  test('splits a session that is too long for one cookie, and removes chunks that are not needed', async () => {
    const browser = new Browser()
    const long = session({ accessToken: randomBytes(3500).toString('base64url') })
    await store(browser, long)
    expect([...browser.cookies.keys()]).toEqual(['__Host-session', '__Host-session.1'])
    expect(Math.max(...browser.received.map((line) => line.length))).toBeLessThan(4096)
    expect(await sessionOf(browser)).toEqual(long.session)
    await store(browser, session({ generation: 2 }))
    expect([...browser.cookies.keys()]).toEqual(['__Host-session'])
    browser.cookies.set('__Host-session.1', 'stale')
    expect(await sessionOf(browser)).toMatchObject({ generation: 2 })
  })

  test('leaves out a pending step-up that does not fit, and throws for tokens that do not', async () => {
    const browser = new Browser()
    await store(browser, session({ accessToken: randomBytes(4000).toString('base64url'), pending: { clientToken: randomBytes(4000).toString('base64url') } }))
    expect((await sessionOf(browser))?.pending).toBeUndefined()
    await expect(store(browser, session({ generation: 2, accessToken: 'x'.repeat(12_000) }))).rejects.toMatchObject({ code: 'session_too_large', retryable: false })
    expect(await sessionOf(browser)).toMatchObject({ generation: 1 })
  })
})

describe('a client with cookieStorage', () => {
  let server: TestServer
  let users = 0
  beforeAll(async () => {
    server = await startServer()
  })
  afterAll(() => server.stop())

  const open = (cookies: ReturnType<typeof requestCookies>) =>
    createClient({ issuer: server.issuer, clientId: server.clientId, storage: cookieStorage({ cookies, keys: first }), autoRefresh: false, retryWindow: 3000 })

  async function signedIn() {
    const [browser, user] = [new Browser(), `cookie-${++users}`]
    const token = await server.clientToken(user)
    await browser.request((cookies) => open(cookies).createSession(token))
    return { browser, user }
  }

  test('keeps a session from request to request', async () => {
    const { browser, user } = await signedIn()
    const ids = [await browser.request(async (cookies) => (await open(cookies).refreshSession()).id), await browser.request(async (cookies) => (await open(cookies).refreshSession()).id)]
    expect((await server.sessions(user)).map(({ id, live_chains, generation }) => [id, live_chains, generation])).toEqual([[ids[0], 1, 2]])
    expect(ids[1]).toBe(ids[0])
  })

  test('deletes the cookie at sign-out, and a late response does not bring the session back', async () => {
    const { browser, user } = await signedIn()
    const late = requestCookies(browser.headers())
    await open(late).refreshSession()
    await browser.request((cookies) => open(cookies).signOut())
    expect([...browser.cookies.keys()]).toEqual(['__Host-session.end'])
    const headers = new Headers()
    late.writeTo(headers)
    browser.receive(headers)
    expect(browser.cookies.has('__Host-session')).toBe(true)
    expect(await sessionOf(browser)).toBeNull()
    expect(await server.sessions(user)).toEqual([])
  })

  test('a session that has ended is over, and its late response keeps a sign-in in the meantime', async () => {
    const { browser, user } = await signedIn()
    const other = new Browser()
    await other.request(async (cookies) => {
      const client = open(cookies)
      await client.createSession(await server.clientToken(user))
      await client.signOut({ scope: 'all' })
    })
    const late = requestCookies(browser.headers())
    await expect(open(late).refreshSession()).rejects.toMatchObject({ code: 'session_ended', endReason: 'revoked_by_user' })
    const again = await server.clientToken(user)
    const { id } = await browser.request((cookies) => open(cookies).createSession(again))
    const headers = new Headers()
    late.writeTo(headers)
    browser.receive(headers)
    expect(await sessionOf(browser)).toMatchObject({ id })
  })

  test.each(['refresh_reused', 'refresh_unknown', undefined])('keeps the cookie after invalid_grant with the reason %s', async (reason) => {
    const { browser } = await signedIn()
    const before = browser.header
    await browser.request(async (cookies) => {
      const client = createClient({
        issuer: server.issuer, clientId: server.clientId, storage: cookieStorage({ cookies, keys: first }), autoRefresh: false,
        fetch: async () => Response.json({ error: 'invalid_grant', latchkey_reason: reason }, { status: 400 }),
      })
      await expect(client.refreshSession()).rejects.toMatchObject({ code: 'invalid_grant', retryable: false })
    })
    expect(browser.header).toBe(before)
  })

  test('two requests that exchange one client token get the same session', async () => {
    const user = `cookie-${++users}`
    const token = await server.clientToken(user)
    const browsers = [new Browser(), new Browser()]
    await Promise.all(browsers.map((browser) => browser.request((cookies) => open(cookies).createSession(token))))
    const ids = await Promise.all(browsers.map(async (browser) => (await sessionOf(browser))?.id))
    expect(ids).toEqual([(await server.sessions(user))[0]?.id, ids[0]])
  })
})
