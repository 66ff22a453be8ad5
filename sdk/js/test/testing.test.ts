import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { createClient, memoryStorage, type Claims, type ClientOptions, type LatchkeyError } from '../src/index.js'
import { createVerifier, type VerifierOptions } from '../src/server/index.js'
import { createIssuer } from '../src/testing/index.js'
import { startServer } from './server.js'

/** An issuer, as the contract of apps needs it: the one for users' tests, or the real server. */
interface Backend {
  client: () => ClientOptions
  verifier: () => VerifierOptions
  clientToken: (sub: string, claims?: Claims) => Promise<string>
  advance: (seconds: number) => unknown
  lose: (count: number) => unknown
  live: (sub: string) => Promise<string[]>
  close: () => unknown
}

async function testIssuer(): Promise<Backend> {
  const issuer = await createIssuer({ secrets: { backend: 'a-client-secret-for-tests-of-40-characters' } })
  return {
    client: () => issuer.clientOptions(), verifier: () => issuer.verifierOptions(), clientToken: (sub, claims) => issuer.clientToken(sub, claims),
    advance: (seconds) => issuer.advance(seconds), lose: (count) => issuer.loseResponses(count), live: async (sub) => issuer.liveSessions(sub), close: () => issuer.close(),
  }
}

async function realServer(): Promise<Backend> {
  const server = await startServer('-origin', 'http://app.localhost:1', '-status-list')
  let offset = 0
  const clock = { now: () => Date.now() + offset, monotonic: () => performance.now() + offset }
  return {
    client: () => ({ issuer: server.issuer, clientId: server.clientId, storage: memoryStorage(), autoRefresh: false, clock }),
    verifier: () => ({ issuer: server.issuer, audience: 'https://api.example.com', clientId: server.backend.clientId, clientSecret: server.backend.clientSecret, clock, logger: () => undefined }),
    clientToken: (sub, claims) => server.clientToken(sub, claims),
    advance: (seconds) => {
      offset += seconds * 1000
      return server.control('/clock', { advance: `${seconds}s` })
    },
    lose: (count) => server.control('/answers', { lose: count }),
    live: async (sub) => (await server.sessions(sub)).map(({ id }) => id),
    close: () => server.stop(),
  }
}

const failure = (promise: Promise<unknown>) => promise.then(() => expect.fail('it succeeded'), (error: unknown) => error as LatchkeyError)

describe.each([['the test issuer', testIssuer], ['the real server', realServer]])('%s keeps the contract', (_name, open) => {
  let backend: Backend
  let users = 0
  beforeAll(async () => {
    backend = await open()
  })
  afterAll(async () => {
    await backend.close()
  })

  function newApp(options: Partial<ClientOptions> = {}) {
    const user = `contract-${++users}`
    const storage = memoryStorage()
    const client = createClient({ ...backend.client(), storage, ...options })
    return { user, storage, client, signIn: async (claims?: Claims) => client.createSession(await backend.clientToken(user, claims), { audience: ['web', 'https://api.example.com'] }) }
  }

  test('a session describes the user', async () => {
    const { user, signIn } = newApp()
    const session = await signIn({ amr: ['pwd'] })
    expect(session).toMatchObject({ user: { id: user }, acr: 'urn:latchkey:acr:1', amr: ['pwd'] })
    const { claims } = session
    expect(Object.keys(claims)).toEqual(expect.arrayContaining(['iss', 'sub', 'aud', 'client_id', 'sid', 'jti', 'iat', 'exp', 'scope', 'auth_time', 'acr', 'amr', 'acr_times']))
    expect(claims).toMatchObject({ sub: user, client_id: 'web', sid: session.id, aud: expect.arrayContaining(['web', 'https://api.example.com']) })
    expect(Number(claims['exp']) - Number(claims['iat'])).toBe(300)
    expect(await backend.live(user)).toEqual([session.id])
  })

  test.each([
    [['pwd'], 'urn:latchkey:acr:1'], [['pwd', 'pin'], 'urn:latchkey:acr:1'], [['pwd', 'otp'], 'urn:latchkey:acr:2'], [['hwk'], 'phr'], [['hwk', 'pin'], 'phrh'], [[], undefined],
  ])('the methods %j are the class %s', async (amr, acr) => {
    expect((await newApp().signIn({ amr })).acr).toBe(acr)
  })

  test('a client token is exchanged once, and expires', async () => {
    const { client, user } = newApp()
    const token = await backend.clientToken(user)
    await client.createSession(token)
    expect(await failure(newApp().client.createSession(token))).toMatchObject({ code: 'invalid_request', status: 400, reason: 'subject_token_spent' })
    expect(await failure(client.createSession(token.slice(0, -4) + 'AAAA'))).toMatchObject({ code: 'invalid_request', reason: 'subject_token_signature' })
  })

  test('a refresh token is replaced, and a lost response costs nothing', async () => {
    const { client, signIn, user } = newApp()
    const { id } = await signIn()
    const first = await client.getToken()
    await backend.advance(290)
    const second = await client.getToken()
    expect(second).not.toBe(first)
    await backend.lose(1)
    expect((await client.refreshSession()).id).toBe(id)
    expect(await backend.live(user)).toEqual([id])
  })

  test('a refresh token that was used before the last one ends the session', async () => {
    const { client, storage, signIn, user } = newApp()
    await signIn()
    const stolen = memoryStorage()
    await stolen.commit(null, await storage.load())
    await client.refreshSession()
    await client.refreshSession()
    const thief = newApp({ storage: stolen }).client
    expect(await failure(thief.refreshSession())).toMatchObject({ code: 'superseded' }) // it may be a delayed duplicate
    await backend.advance(60)
    expect(await failure(thief.refreshSession())).toMatchObject({ code: 'superseded' }) // the token is not sent again
    expect(await backend.live(user)).toHaveLength(1)
    const again = newApp({ storage: stolen }).client
    expect(await failure(again.refreshSession())).toMatchObject({ code: 'session_ended', endReason: 'reuse_detected' })
    expect(await failure(client.refreshSession())).toMatchObject({ code: 'session_ended', endReason: 'reuse_detected' })
    expect(await backend.live(user)).toEqual([])
  })

  test('a token can be for one audience, of those that were granted', async () => {
    const { client, signIn } = newApp()
    await signIn()
    const token = await client.getToken({ audience: 'https://api.example.com' })
    expect((JSON.parse(atob(token.split('.')[1]!)) as Claims)['aud']).toBe('https://api.example.com')
    expect(await failure(client.getToken({ audience: 'https://files.example.com' }))).toMatchObject({ code: 'invalid_target' })
  })

  test('a demand that is not met needs a step-up, which survives a lost response', async () => {
    const { client, signIn, user } = newApp()
    await signIn({ amr: ['pwd'] })
    const demand = { acrValues: ['urn:latchkey:acr:2'] }
    expect(await failure(client.getToken(demand))).toMatchObject({ code: 'unmet_authentication_requirements', retryable: false })
    await backend.lose(1)
    expect(await client.stepUp(await backend.clientToken(user, { amr: ['otp'] }), demand)).toMatchObject({ acr: 'urn:latchkey:acr:2' })
    await client.getToken(demand)
    await backend.advance(120)
    expect(await failure(client.getToken({ maxAge: 60 }))).toMatchObject({ code: 'unmet_authentication_requirements' })
  })

  test('sessions are listed and ended, and say why', async () => {
    const { client, signIn, user } = newApp()
    const { id } = await signIn()
    const other = createClient(backend.client())
    await other.createSession(await backend.clientToken(user), { deviceName: 'Laptop' })
    const list = await client.listSessions()
    expect(list.map(({ current, device }) => [current, device.name]).sort()).toEqual([[false, 'Laptop'], [true, '']])
    await other.revokeSession(id)
    expect(await failure(client.refreshSession())).toMatchObject({ code: 'session_ended', endReason: 'revoked_by_user' })
    await other.signOut()
    await vi.waitFor(async () => expect(await backend.live(user)).toEqual([]))
  })

  test('a verifier accepts its tokens, and rejects those of a session that has ended', async () => {
    const { client, signIn } = newApp()
    const session = await signIn()
    const token = await client.getToken()
    const verifier = createVerifier(backend.verifier())
    try {
      // The real server may still notice that its clock was moved.
      await vi.waitFor(async () => expect(await verifier.verify(token)).toMatchObject({ subject: session.user.id, sessionId: session.id }), { timeout: 10_000 })
      await client.signOut()
      await vi.waitFor(async () => expect(await failure(verifier.verify(token))).toMatchObject({ code: 'invalid_token' }), { timeout: 5000 })
      const asking = createVerifier({ ...backend.verifier(), revocation: 'introspection' })
      expect(await failure(asking.verify(token))).toMatchObject({ code: 'invalid_token' })
      asking.close()
    } finally {
      verifier.close()
    }
  })

  test('a verifier with the status list rejects a session that has ended when the list is fetched again', async () => {
    const { client, signIn } = newApp()
    await signIn()
    const other = newApp()
    await other.signIn()
    const verifier = createVerifier({ ...backend.verifier(), revocation: 'status-list' })
    const token = await client.getToken()
    await verifier.verify(token)
    await client.signOut()
    await verifier.verify(token) // the list is used for a minute
    await backend.advance(61)
    await vi.waitFor(async () => expect(await failure(verifier.verify(token))).toMatchObject({ code: 'invalid_token' }), { timeout: 5000 })
    await verifier.verify(await other.client.getToken())
    verifier.close()
  })

  test('a client with a secret has to prove it', async () => {
    const secret = 'a-client-secret-for-tests-of-40-characters'
    const basic = (id: string, value: string) => ({ authorization: `Basic ${btoa(`${id}:${value}`)}` })
    const open = (headers: Record<string, string>, clientId = 'backend') => {
      const { fetch: send = fetch } = backend.client()
      return newApp({ clientId, fetch: (input, init) => send(input, { ...init, headers: { ...(init?.headers as Record<string, string>), ...(init?.body instanceof URLSearchParams && headers) } }) })
    }
    const { client, user } = open(basic('backend', secret))
    const { id } = await client.createSession(await backend.clientToken(user))
    expect((await client.refreshSession()).id).toBe(id)
    for (const app of [open({}), open(basic('backend', `${secret}!`)), open(basic('web', secret), 'web')]) {
      expect(await failure(app.client.createSession(await backend.clientToken(app.user)))).toMatchObject({ code: 'invalid_client', status: 401, retryable: false })
    }
    const mixed = open(basic('other', secret))
    expect(await failure(mixed.client.createSession(await backend.clientToken(mixed.user)))).toMatchObject({ code: 'invalid_request' })
    await client.signOut()
    await vi.waitFor(async () => expect(await backend.live(user)).toEqual([]))
  })

  test('a session ends at its time', async () => {
    const { client, signIn } = newApp()
    const { expiresAt } = await signIn()
    await backend.advance(Math.ceil((expiresAt.getTime() - backend.client().clock!.now()) / 1000) + 1)
    expect(await failure(client.getToken())).toMatchObject({ code: 'session_ended' })
  })
})

describe('the test issuer', () => {
  test.each(['ES256', 'RS256'] as const)('signs with real keys: %s', async (algorithm) => {
    const issuer = await createIssuer({ algorithm })
    const verifier = createVerifier({ ...issuer.verifierOptions(), revocation: 'none' })
    expect(await verifier.verify(await issuer.token({ scope: 'orders:read' }))).toMatchObject({ subject: 'alice', scopes: ['orders:read'] })
    for (const bad of [await issuer.expiredToken(), await issuer.forgedToken(), await issuer.token({ aud: 'another' })]) {
      expect(await failure(verifier.verify(bad))).toMatchObject({ code: 'invalid_token' })
    }
    await issuer.rotateKey()
    issuer.advance(120) // a verifier does not fetch keys for each unknown kid
    await verifier.verify(await issuer.token())
    verifier.close()
  })

  test('moves the clock under tokens, goes down, and counts requests', async () => {
    const issuer = await createIssuer()
    const verifier = createVerifier({ ...issuer.verifierOptions(), revocation: 'none' })
    const token = await issuer.token()
    await verifier.verify(token)
    issuer.advance(400)
    expect(await failure(verifier.verify(token))).toMatchObject({ code: 'invalid_token' })
    const client = createClient({ ...issuer.clientOptions(), retryWindow: 200 })
    await client.createSession(await issuer.clientToken('alice'))
    issuer.advance(400)
    issuer.setDown(true)
    expect(await failure(client.getToken())).toMatchObject({ code: 'temporarily_unavailable', retryable: true })
    issuer.setDown(false)
    const before = issuer.requestCount('/token')
    await client.getToken()
    expect(issuer.requestCount('/token')).toBe(before + 1)
    verifier.close()
  })
})
