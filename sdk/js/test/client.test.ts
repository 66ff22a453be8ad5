import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { createClient, isInvalidTokenChallenge, LatchkeyError, memoryStorage, type ClientOptions, type SessionChange, type Storage } from '../src/index.js'
import { startServer, type TestServer } from './server.js'

let server: TestServer
let users = 0

beforeAll(async () => {
  server = await startServer('-origin', 'http://app.localhost:1')
})
afterAll(() => server.stop())

/** An app with its own user. `tab` is another tab: it shares the storage. */
async function newApp(options: Partial<ClientOptions> = {}) {
  const user = `user-${++users}`
  const storage = options.storage ?? memoryStorage()
  const requests: string[] = []
  const tab = (more: Partial<ClientOptions> = {}) =>
    createClient({
      issuer: server.issuer, clientId: server.clientId, storage, autoRefresh: false, retryWindow: 3000,
      fetch: async (input, init) => {
        const body = init?.body instanceof URLSearchParams ? init.body : undefined
        requests.push(body?.get('grant_type') ?? `${init?.method ?? 'GET'} ${new URL(String(input instanceof Request ? input.url : input)).pathname}`)
        return fetch(input, init)
      },
      ...options, ...more,
    })
  const client = tab()
  return { user, storage, requests, tab, client, signIn: async (claims?: object) => client.createSession(await server.clientToken(user, claims)) }
}

const only = async (user: string) => {
  const list = await server.sessions(user)
  expect(list).toHaveLength(1)
  expect(list[0]?.live_chains).toBe(1)
  return list[0]!
}

const failure = (promise: Promise<unknown>) => promise.then(() => expect.fail('it succeeded'), (error: unknown) => error as LatchkeyError)

/** A clock that a test moves. */
function movable() {
  let offset = 0
  return { now: () => Date.now() + offset, monotonic: () => performance.now() + Math.max(offset, 0), move: (seconds: number) => (offset += seconds * 1000) }
}

describe('a session', () => {
  test('is undefined until the storage was read, then null, then what the token says', async () => {
    const { client, signIn, user, tab } = await newApp()
    expect(client.session).toBeUndefined()
    await client.ready
    expect(client.session).toBeNull()
    const session = await signIn({ amr: ['pwd'] })
    expect(client.session).toEqual(session)
    expect(session).toMatchObject({ user: { id: user }, acr: 'urn:latchkey:acr:1', amr: ['pwd'] })
    expect(session.expiresAt.getTime()).toBeGreaterThan(Date.now())
    const other = tab()
    await other.ready
    expect(other.session).toEqual(session)
    expect(JSON.stringify(session)).not.toContain('lk_rt_')
  })

  test('is created once for a client token, however often it is asked for', async () => {
    const { client, user, tab, requests } = await newApp()
    const token = await server.clientToken(user)
    const [a, b] = await Promise.all([client.createSession(token), client.createSession(token)])
    const c = await client.createSession(token)
    const d = await tab().createSession(token) // a reload with the token still in the URL
    expect(new Set([a.id, b.id, c.id, d.id]).size).toBe(1)
    expect(requests).toHaveLength(1)
    await only(user)
  })

  test('replaces the session before it, which ends at the server', async () => {
    const { client, user, signIn } = await newApp()
    const first = await signIn()
    const second = await signIn()
    expect(second.id).not.toBe(first.id)
    await vi.waitFor(async () => expect((await server.sessions(user)).map((s) => s.id)).toEqual([second.id]))
    expect(client.session?.id).toBe(second.id)
  })

  test('needs a client token that is valid', async () => {
    const { client, user } = await newApp()
    const error = await failure(client.createSession((await server.clientToken(user)).slice(0, -4) + 'AAAA'))
    expect(error).toMatchObject({ code: 'invalid_request', retryable: false, status: 400, reason: 'subject_token_signature' })
    expect(await failure(client.getToken())).toMatchObject({ code: 'not_signed_in', retryable: false })
  })
})

describe('getToken', () => {
  test('returns the stored token while it is fresh, and one refresh for all callers when it is due', async () => {
    const clock = movable()
    const { client, signIn, requests, user } = await newApp({ clock })
    await signIn()
    const first = await client.getToken()
    expect(await client.getToken()).toBe(first)
    clock.move(290)
    const tokens = await Promise.all(Array.from({ length: 20 }, () => client.getToken()))
    expect(new Set(tokens).size).toBe(1)
    expect(tokens[0]).not.toBe(first)
    expect(requests.filter((r) => r === 'refresh_token')).toHaveLength(1)
    expect((await only(user)).generation).toBe(1)
  })

  test.each([['five hours ahead', 5], ['five hours behind', -5]])('does not depend on a clock that is %s', async (_name, hours) => {
    const clock = { now: () => Date.now() + hours * 3600_000, monotonic: () => performance.now() }
    const { client, signIn, requests } = await newApp({ clock })
    await signIn()
    await client.getToken()
    expect(requests).toEqual(['urn:ietf:params:oauth:grant-type:token-exchange'])
  })

  test('refreshes after the clock was set back under a stored token', async () => {
    const { signIn, tab, requests } = await newApp()
    await signIn()
    const later = tab({ clock: { now: () => Date.now() - 3600_000, monotonic: () => performance.now() } })
    await later.getToken()
    expect(requests.filter((r) => r === 'refresh_token')).toHaveLength(1)
  })

  test('narrows a token to an audience, and keeps it', async () => {
    const { client, user, requests } = await newApp()
    await client.createSession(await server.clientToken(user), { audience: ['web', 'https://api.example.com'] })
    const aud = (token: string) => JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()).aud as unknown
    const api = await client.getToken({ audience: 'https://api.example.com' })
    expect(aud(api)).toEqual('https://api.example.com')
    expect(await client.getToken({ audience: 'https://api.example.com' })).toBe(api)
    expect(aud(await client.getToken())).toEqual(expect.arrayContaining(['web', 'https://api.example.com']))
    expect(requests.filter((r) => r === 'refresh_token')).toHaveLength(1)
    expect(await failure(client.getToken({ audience: 'https://files.example.com' }))).toMatchObject({ code: 'invalid_target', retryable: false })
    expect(client.session).not.toBeNull()
  })

  test('states a demand that the session does not meet', async () => {
    const { client, signIn } = await newApp()
    await signIn({ amr: ['pwd'] })
    expect(await failure(client.getToken({ acrValues: ['phr'] }))).toMatchObject({ code: 'unmet_authentication_requirements', retryable: false })
    expect(client.session).not.toBeNull()
  })
})

describe('tabs', () => {
  test('may refresh at once: both keep the session, and one chain lives', async () => {
    const { client, signIn, tab, user } = await newApp()
    await signIn()
    const other = tab()
    await other.ready
    for (let i = 1; i <= 5; i++) {
      const [a, b] = await Promise.all([client.refreshSession(), other.refreshSession()])
      expect(a.id).toBe(b.id)
    }
    expect(client.session?.id).toBe(other.session?.id)
    await only(user)
  })

  test('use what another tab has stored', async () => {
    const clock = movable()
    const { client, signIn, tab, requests } = await newApp({ clock })
    await signIn()
    const other = tab()
    await other.ready
    clock.move(290)
    const token = await client.getToken()
    expect(await other.getToken()).toBe(token)
    expect(requests.filter((r) => r === 'refresh_token')).toHaveLength(1)
  })

  test('are all signed out together, and told why', async () => {
    const { client, signIn, tab } = await newApp()
    await signIn()
    const other = tab()
    await other.ready
    const changes: SessionChange[] = []
    other.onSessionChange((change) => changes.push(change))
    await client.signOut()
    await vi.waitFor(() => expect(changes).toEqual([{ event: 'signed-out', session: null }]))
    expect(other.session).toBeNull()
    expect(await failure(other.getToken())).toMatchObject({ code: 'not_signed_in' })
  })
})

describe('a lost response', () => {
  test('of a refresh costs nothing', async () => {
    const { client, signIn, requests, user } = await newApp()
    await signIn()
    await server.control('/answers', { lose: 1 })
    await client.refreshSession()
    expect(requests.filter((r) => r === 'refresh_token')).toHaveLength(2)
    expect((await only(user)).generation).toBe(1)
  })

  test('of a refresh before the page was closed is made good by the next page', async () => {
    const { signIn, tab, user } = await newApp()
    await signIn()
    const client = tab({ retryWindow: 600 })
    await server.control('/answers', { lose: 50 })
    expect(await failure(client.refreshSession())).toMatchObject({ code: 'unavailable', retryable: true })
    expect(client.session).not.toBeNull()
    await server.control('/answers', { lose: 0 })
    client.dispose()
    await tab().refreshSession()
    await only(user)
  })

  test('leaves the old access token in use until it expires', async () => {
    const clock = movable()
    const { signIn, tab } = await newApp({ clock })
    await signIn()
    const client = tab({ retryWindow: 600 })
    const token = await client.getToken()
    clock.move(285)
    await server.control('/answers', { lose: 50 })
    expect(await client.getToken()).toBe(token)
    clock.move(30)
    expect(await failure(client.getToken())).toMatchObject({ code: 'unavailable', retryable: true })
    expect(client.session).not.toBeNull()
    await server.control('/answers', { lose: 0 })
    expect(await client.getToken()).not.toBe(token)
  })

  test('of a step-up is made good after a reload', async () => {
    const { signIn, tab, user } = await newApp()
    await signIn({ amr: ['pwd'] })
    const client = tab({ retryWindow: 600 })
    await server.control('/answers', { lose: 50 })
    expect(await failure(client.stepUp(await server.clientToken(user, { amr: ['otp'] })))).toMatchObject({ retryable: true })
    await server.control('/answers', { lose: 0 })
    client.dispose()
    const reloaded = tab()
    const changes: string[] = []
    reloaded.onSessionChange(({ event }) => changes.push(event))
    await reloaded.getToken()
    expect(reloaded.session).toMatchObject({ acr: 'urn:latchkey:acr:2' })
    await vi.waitFor(() => expect(changes).toEqual(['stepped-up']))
    await only(user)
  })

  test('that arrives after sign-out is dropped', async () => {
    const { client, signIn, tab, user, storage } = await newApp()
    await signIn()
    const other = tab()
    await other.ready
    await server.control('/answers', { hold: 1 })
    const slow = failure(client.refreshSession())
    await server.control('/answers/held', {})
    await other.signOut()
    await server.control('/answers/release', {})
    expect(await slow).toMatchObject({ code: 'not_signed_in' })
    expect(client.session).toBeNull()
    expect(await storage.load()).not.toContain('lk_rt_')
    expect(await server.sessions(user)).toEqual([])
  })
})

describe('a step-up', () => {
  test('raises the session, in every tab', async () => {
    const { client, signIn, tab, user } = await newApp()
    const before = await signIn({ amr: ['pwd'] })
    const other = tab()
    await other.ready
    const token = await server.clientToken(user, { amr: ['otp'] })
    const [session] = await Promise.all([client.stepUp(token), client.stepUp(token)])
    expect(session).toMatchObject({ id: before.id, acr: 'urn:latchkey:acr:2' })
    expect(await client.stepUp(token)).toMatchObject({ id: before.id })
    await vi.waitFor(() => expect(other.session?.acr).toBe('urn:latchkey:acr:2'))
    await other.refreshSession()
    expect(other.session?.acr).toBe('urn:latchkey:acr:2')
    await only(user)
  })

  test('beside refreshes of other tabs keeps the later assurance', async () => {
    const { client, signIn, tab, user } = await newApp()
    await signIn({ amr: ['pwd'] })
    const other = tab()
    await other.ready
    await Promise.all([client.stepUp(await server.clientToken(user, { amr: ['otp'] })), other.refreshSession(), other.getToken()])
    await vi.waitFor(() => expect(other.session?.acr).toBe('urn:latchkey:acr:2'))
    await Promise.all([client.refreshSession(), other.refreshSession()])
    expect(client.session?.acr).toBe('urn:latchkey:acr:2')
    await only(user)
  })

  test('that is refused leaves the session as it was', async () => {
    const { client, signIn, storage } = await newApp()
    await signIn()
    expect(await failure(client.stepUp(await server.clientToken('somebody-else')))).toMatchObject({ code: 'invalid_request', reason: 'subject_token_other_user' })
    expect(await storage.load()).not.toContain('clientToken')
    await client.refreshSession()
  })
})

describe('the end of a session', () => {
  test('comes only from the server, with its reason', async () => {
    const { client, signIn, tab, storage } = await newApp()
    const { id } = await signIn()
    const { storage: elsewhere } = await newApp()
    await elsewhere.commit(null, (await storage.load()) ?? '') // another device of the user, so to speak
    const changes: SessionChange[] = []
    client.onSessionChange((change) => changes.push(change))
    await tab({ storage: elsewhere }).revokeSession(id)
    const error = await failure(client.refreshSession())
    expect(error).toMatchObject({ code: 'session_ended', retryable: false, endReason: 'signed_out' })
    await vi.waitFor(() => expect(changes).toEqual([{ event: 'ended', session: null, reason: 'signed_out' }]))
    expect(await failure(client.getToken())).toMatchObject({ code: 'session_ended', endReason: 'signed_out' })
  })

  test('by reuse does not touch a newer token that another tab has stored', async () => {
    const { client, signIn, storage, tab, user } = await newApp()
    await signIn()
    const old = await storage.load()
    await client.refreshSession()
    await client.refreshSession()
    const newest = await storage.load()
    // This storage answers the first read with what another tab has replaced since.
    let reads = 0
    const stale: Storage = { load: () => (reads++ < 2 ? Promise.resolve(old) : storage.load()), commit: (p, n) => storage.commit(p, n) }
    await tab({ storage: stale }).refreshSession()
    expect(await storage.load()).not.toBe(newest)
    await only(user)
  })

  test('is not an unknown client, which keeps the session', async () => {
    const { signIn, tab, storage } = await newApp()
    await signIn()
    const error = await failure(tab({ clientId: 'nobody' }).refreshSession())
    expect(error).toMatchObject({ code: 'invalid_client', retryable: false, status: 401 })
    expect(await storage.load()).toContain('lk_rt_')
    await tab().refreshSession()
  })
})

describe('signing out', () => {
  test('works without a network, and is made good later', async () => {
    let offline = false
    const { client, signIn, user, tab } = await newApp({ fetch: (input, init) => (offline ? Promise.reject(new TypeError('offline')) : fetch(input, init)) })
    await signIn()
    offline = true
    await client.signOut()
    expect(client.session).toBeNull()
    expect(await server.sessions(user)).toHaveLength(1)
    client.dispose()
    offline = false
    await tab().ready
    await vi.waitFor(async () => expect(await server.sessions(user)).toEqual([]))
  })

  test.each(['others', 'all'] as const)('of %s', async (scope) => {
    const { client, signIn, user, tab } = await newApp()
    const { id } = await signIn()
    await tab({ storage: memoryStorage() }).createSession(await server.clientToken(user))
    expect(await server.sessions(user)).toHaveLength(2)
    const list = await client.listSessions()
    expect(list.map((s) => s.current).sort()).toEqual([false, true])
    expect(list.find((s) => s.current)).toMatchObject({ id, clientId: 'web' })
    await client.signOut({ scope })
    expect((await server.sessions(user)).map((s) => s.id)).toEqual(scope === 'others' ? [id] : [])
    expect(client.session === null).toBe(scope === 'all')
  })

  test('ends another session of the user', async () => {
    const { client, signIn, user, tab } = await newApp()
    await signIn()
    const { id } = await tab({ storage: memoryStorage() }).createSession(await server.clientToken(user), { deviceName: 'Phone' })
    expect((await client.listSessions()).find((s) => s.id === id)?.device.name).toBe('Phone')
    await client.revokeSession(id)
    await only(user)
    expect(await failure(client.revokeSession('AAAAAAAAAAAAAAAAAAAAAA'))).toMatchObject({ code: 'not_found' })
  })
})

describe('storage', () => {
  test('that fails keeps the session in memory, reports it once, and is written when it works again', async () => {
    const inner = memoryStorage()
    let broken = false
    const guard = <T>(run: () => Promise<T>) => (broken ? Promise.reject(new Error('quota')) : run())
    const errors: string[] = []
    const { client, signIn, user, tab } = await newApp({
      storage: { load: () => guard(() => inner.load()), commit: (p, n) => guard(() => inner.commit(p, n)) },
      onError: (error) => errors.push(error.code),
    })
    await signIn()
    broken = true
    await client.refreshSession()
    await client.refreshSession()
    expect(errors).toEqual(['storage_unavailable'])
    expect(client.session).not.toBeNull()
    broken = false
    await client.refreshSession()
    await tab({ storage: inner }).refreshSession()
    await only(user)
  })

  test('that hangs is given up after two seconds', async () => {
    const { client, signIn, user } = await newApp({ storage: { load: () => new Promise(() => undefined), commit: () => new Promise(() => undefined) } })
    const began = performance.now()
    await signIn()
    await client.getToken()
    await client.refreshSession()
    expect(performance.now() - began).toBeLessThan(4000)
    await only(user)
  })

  test('that was cleared gets the session back', async () => {
    const { client, signIn, storage, tab, user } = await newApp()
    await signIn()
    await storage.commit(await storage.load(), null)
    await client.getToken()
    expect(client.session).not.toBeNull()
    await tab().refreshSession()
    await only(user)
  })

  test('is required outside of browsers', async () => {
    const client = createClient({ issuer: server.issuer, clientId: 'web' })
    expect(await failure(client.getToken())).toMatchObject({ code: 'storage_required' })
    expect(client.session).toBeUndefined()
  })
})

describe('fetch', () => {
  /** A resource server that answers as a list says, and records the tokens. */
  function api(...answers: (Response | undefined)[]) {
    const tokens: (string | null)[] = []
    const bodies: string[] = []
    const over: ClientOptions['fetch'] = async (input, init) => {
      if (!(input instanceof Request) || !input.url.startsWith('https://api.example.com')) return fetch(input, init)
      tokens.push(input.headers.get('authorization'))
      bodies.push(await input.text())
      return answers.shift() ?? new Response('done')
    }
    return { tokens, bodies, fetch: over }
  }
  const challenge = (text: string) => new Response('', { status: 401, headers: { 'www-authenticate': text } })

  test('adds the token, and replaces one that was rejected', async () => {
    const { tokens, bodies, fetch } = api(undefined, challenge('Bearer error="invalid_token"'))
    const { client, signIn } = await newApp({ fetch })
    await signIn()
    await client.fetch('https://api.example.com/a')
    const response = await client.fetch('https://api.example.com/b', { method: 'POST', body: 'x' })
    expect(await response.text()).toBe('done')
    expect(bodies).toEqual(['', 'x', 'x'])
    expect(tokens[0]).toBe(tokens[1])
    expect(tokens[2]).toBe(`Bearer ${await client.getToken()}`)
    expect(tokens[2]).not.toBe(tokens[1])
  })

  test('returns a second 401, and one that is not about the token', async () => {
    const { tokens, fetch } = api(challenge('Bearer error="invalid_token"'), challenge('Bearer error="invalid_token"'), challenge('Basic realm="x"'))
    const { client, signIn } = await newApp({ fetch })
    await signIn()
    expect((await client.fetch('https://api.example.com/')).status).toBe(401)
    expect(tokens).toHaveLength(2)
    expect((await client.fetch('https://api.example.com/')).status).toBe(401)
    expect(tokens).toHaveLength(3)
  })

  test('steps up when the API requires it', async () => {
    const demands: unknown[] = []
    const { tokens, fetch } = api(challenge('Bearer error="insufficient_user_authentication", acr_values="urn:latchkey:acr:2", max_age="60"'))
    const app = await newApp({
      fetch,
      onChallenge: async (demand) => {
        demands.push(demand)
        return server.clientToken(app.user, { amr: ['otp', 'pwd'], auth_time: Math.floor(Date.now() / 1000) })
      },
    })
    await app.signIn({ amr: ['pwd'] })
    expect((await app.client.fetch('https://api.example.com/')).status).toBe(200)
    expect(demands).toEqual([{ acrValues: ['urn:latchkey:acr:2'], maxAge: 60 }])
    expect(tokens).toHaveLength(2)
    expect(app.client.session?.acr).toBe('urn:latchkey:acr:2')
  })

  test('returns the challenge if the user declines', async () => {
    const { tokens, fetch } = api(challenge('Bearer error="insufficient_user_authentication"'))
    const { client, signIn } = await newApp({ fetch, onChallenge: () => Promise.resolve(undefined) })
    await signIn()
    const response = await client.fetch('https://api.example.com/')
    expect(response.status).toBe(401)
    expect(isInvalidTokenChallenge(response.headers)).toBe(false)
    expect(tokens).toHaveLength(1)
  })

  test('sends no token over plain http', async () => {
    const { client, signIn } = await newApp()
    await signIn()
    expect(await failure(client.fetch('http://api.example.com/'))).toMatchObject({ code: 'invalid_option' })
  })
})

test('an issuer has to be a base URL over https', () => {
  for (const issuer of ['', 'id.example.com', 'http://id.example.com', 'https://id.example.com/', 'https://id.example.com?a', 'https://u@id.example.com', 'ftp://id.example.com']) {
    expect(() => createClient({ issuer, clientId: 'web', storage: memoryStorage() }), issuer).toThrow(LatchkeyError)
  }
  createClient({ issuer: 'https://id.example.com/t/acme', clientId: 'web', storage: memoryStorage() }).dispose()
})

test('no error contains a token', async () => {
  const { signIn, tab } = await newApp()
  await signIn()
  await server.control('/answers', { lose: 50 })
  const error = await failure(tab({ retryWindow: 600 }).refreshSession())
  await server.control('/answers', { lose: 0 })
  expect(JSON.stringify([error, error.message, error.stack, String(error.cause)])).not.toMatch(/lk_rt_|eyJ/)
})

test('a client that was disposed of rejects calls', async () => {
  const { client, signIn } = await newApp()
  await signIn()
  client.dispose()
  expect(await failure(client.getToken())).toMatchObject({ code: 'disposed' })
})
