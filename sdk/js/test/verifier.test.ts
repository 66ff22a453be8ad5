import { jwtVerify, createRemoteJWKSet } from 'jose'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { createClient, memoryStorage } from '../src/index.js'
import { createResourceServer, createVerifier, maxAge, requireAcr, requireScope, type LatchkeyError, type Verifier, type VerifierOptions } from '../src/server/index.js'
import { followTime, startServer, type TestServer } from './server.js'

const AUDIENCE = 'https://api.example.com'

let server: TestServer
const open: { close(): void }[] = []

beforeAll(async () => {
  server = await startServer('-status-list')
})
afterAll(() => server.stop())
afterEach(() => {
  for (const verifier of open.splice(0)) verifier.close()
})

function newVerifier(options: Partial<VerifierOptions> = {}) {
  const logs: string[] = []
  const verifier = createVerifier({ issuer: server.issuer, audience: AUDIENCE, ...server.backend, logger: (message) => logs.push(message), ...options })
  open.push(verifier)
  return Object.assign(verifier, { logs })
}

async function signIn(claims: object = {}, sub = 'alice', at = server) {
  const client = createClient({ issuer: at.issuer, clientId: 'web', storage: memoryStorage(), autoRefresh: false })
  await client.createSession(await at.clientToken(sub, claims), { audience: ['web', AUDIENCE] })
  return { client, token: await client.getToken({ audience: AUDIENCE }) }
}

const code = (verifier: Verifier, token: string) => verifier.verify(token).then(() => 'accepted', (error: unknown) => (error as LatchkeyError).code)

describe('a verifier', () => {
  test('returns what the token says', async () => {
    const { client, token } = await signIn({ amr: ['pwd'] })
    const t = await newVerifier().verify(token)
    expect(t).toMatchObject({
      issuer: server.issuer, subject: 'alice', clientId: 'web', sessionId: client.session?.id, audience: [AUDIENCE],
      scopes: ['profile', 'orders:read'], acr: 'urn:latchkey:acr:1', amr: ['pwd'],
    })
    expect(t.acrTimes.get('urn:latchkey:acr:1')).toEqual(t.authTime)
    expect(t.expiresAt.getTime() - t.issuedAt.getTime()).toBe(300_000)
  })

  test('rejects a token for another audience, and one that is no token', async () => {
    const { client } = await signIn()
    const verifier = newVerifier()
    expect(await code(verifier, await client.getToken({ audience: 'web' }))).toBe('invalid_token')
    expect(await code(verifier, 'lk_st_x')).toBe('invalid_token')
  })

  test.each(['feed', 'introspection', 'none'] as const)('with %s detects a revocation as documented', async (revocation) => {
    const { client, token } = await signIn()
    const other = await signIn()
    const verifier = newVerifier({ revocation })
    expect(await code(verifier, token)).toBe('accepted')
    await client.signOut()
    const began = performance.now()
    if (revocation === 'none') expect(await code(verifier, token)).toBe('accepted')
    else await vi.waitFor(async () => expect(await code(verifier, token)).toBe('invalid_token'), { timeout: 5000, interval: 20 })
    expect(performance.now() - began).toBeLessThan(3000)
    expect(await code(verifier, other.token)).toBe('accepted')
  })

  test('with status-list learns of a revocation when the ttl of the list is over', async () => {
    const own = await startServer('-status-list')
    let offset = 0
    const { client, token } = await signIn({}, 'alice', own)
    const other = await signIn({}, 'alice', own)
    const verifier = newVerifier({ issuer: own.issuer, revocation: 'status-list', clock: { now: () => Date.now() + offset } })
    expect(await code(verifier, token)).toBe('accepted')
    await client.signOut()
    offset = 61_000
    await own.control('/clock', { advance: '61s' })
    await vi.waitFor(async () => expect(await code(verifier, token)).toBe('invalid_token'), { timeout: 5000 })
    expect(await code(verifier, other.token)).toBe('accepted')
    await own.stop()
  })

  test('that follows the feed keeps no listener for each look at it', async () => {
    const { token } = await signIn()
    const live = new Set<unknown>()
    const add = vi.spyOn(AbortSignal.prototype, 'addEventListener').mockImplementation(function (this: AbortSignal, type, listener, options) {
      live.add(listener)
      EventTarget.prototype.addEventListener.call(this, type, listener, options)
    })
    const remove = vi.spyOn(AbortSignal.prototype, 'removeEventListener').mockImplementation(function (this: AbortSignal, type, listener, options) {
      live.delete(listener)
      EventTarget.prototype.removeEventListener.call(this, type, listener, options)
    })
    try {
      expect(await code(newVerifier(), token)).toBe('accepted')
      const before = live.size
      await new Promise((resolve) => setTimeout(resolve, 3_500)) // it looks at its stream once a second
      expect(before).toBeGreaterThan(0)
      expect(live.size).toBeLessThanOrEqual(before)
    } finally {
      add.mockRestore()
      remove.mockRestore()
    }
  })

  test('closed, verifies nothing', async () => {
    const { token } = await signIn()
    const verifier = newVerifier()
    await verifier.verify(token)
    verifier.close()
    expect(await code(verifier, token)).toBe('unavailable')
  })
})

describe('while the feed is interrupted', () => {
  test('nothing is missed: a broken stream resumes', async () => {
    const { client, token } = await signIn()
    const verifier = newVerifier()
    expect(await code(verifier, token)).toBe('accepted')
    await server.control('/feed', { down: true })
    await client.signOut()
    expect(await code(verifier, token)).toBe('accepted') // for at most 30 s
    await server.control('/feed', { down: false })
    await vi.waitFor(async () => expect(await code(verifier, token)).toBe('invalid_token'), { timeout: 10_000, interval: 50 })
    expect(verifier.status().error).toBeUndefined()
  })

  test.each(['fail-closed', 'introspection'] as const)('for 30 s, every token is decided by %s', async (whenLost) => {
    const { client, token } = await signIn()
    const other = await signIn()
    let offset = 0
    const verifier = newVerifier({ whenLost, clock: { now: () => Date.now() + offset } })
    expect(await code(verifier, token)).toBe('accepted')
    await server.control('/feed', { paused: true })
    await client.signOut()
    offset = 29_000
    expect(await code(verifier, other.token)).toBe('accepted')
    offset = 45_000
    expect(verifier.status().error?.code).toBe('unavailable')
    expect([await code(verifier, token), await code(verifier, other.token)]).toEqual(whenLost === 'fail-closed' ? ['unavailable', 'unavailable'] : ['invalid_token', 'accepted'])
    await server.control('/feed', { paused: false })
  })

  test('a client that may not follow it gets an error', async () => {
    const { token } = await signIn()
    const verifier = newVerifier({ clientSecret: 'a-wrong-secret-of-at-least-32-characters' })
    expect(await code(verifier, token)).toBe('unavailable')
    expect(verifier.logs.join()).toContain('rejected clientId and clientSecret')
  })
})

test('a redirect is not followed, and condemns no token', async () => {
  const { token } = await signIn()
  const asked: string[] = []
  const verifier = newVerifier({
    revocation: 'none',
    fetch: (input, init) => {
      asked.push(`${init?.redirect ?? 'follow'} ${input as string}`)
      return Promise.resolve(new Response(null, { status: 302, headers: { location: 'https://evil.example.com/' } }))
    },
  })
  expect(await code(verifier, token)).toBe('unavailable')
  expect(asked).toEqual([`manual ${server.issuer}/.well-known/openid-configuration`])
})

test('an issuer that does not respond condemns no token', async () => {
  const { token } = await signIn()
  const verifier = newVerifier({ revocation: 'none', fetch: () => Promise.reject(new Error('down')) })
  expect(await code(verifier, token)).toBe('unavailable')
})

test.each([
  [{ audience: '' }], [{ clientId: '' }], [{ clockTolerance: 61 }], [{ maxTokenAge: -1 }], [{ whenLost: 'introspection', revocation: 'none' }],
  [{ introspectionCache: 10 }], [{ revocation: 'introspection', introspectionCache: 61 }], [{ revocation: 'introspection', introspectionCache: 10, cacheSize: 0 }],
  [{ revocation: 'feeds' }], [{ issuer: 'http://id.example.com' }],
] as [Partial<VerifierOptions>][])('contradictory options are rejected: %o', (options) => {
  expect(() => newVerifier(options)).toThrow(expect.objectContaining({ code: 'invalid_option' }))
})

describe('a resource server', () => {
  const headers = (token?: string) => new Headers(token === undefined ? {} : { authorization: `Bearer ${token}` })

  test('lets a valid token through, and challenges everything else', async () => {
    const { token } = await signIn({ amr: ['pwd'] })
    const api = createResourceServer({ verifier: newVerifier(), url: 'https://api.example.com/v1', scopes: ['orders:read'] })
    expect((await api.check(headers(token), requireScope('orders:read'))).token?.subject).toBe('alice')
    const ask = async (h: Headers, ...need: Parameters<typeof api.check> extends [Headers, ...infer R] ? R : never) => {
      const { response } = await api.check(h, ...need)
      return [response?.status, response?.headers.get('www-authenticate'), await response?.text()]
    }
    const common = 'realm="api", resource_metadata="https://api.example.com/.well-known/oauth-protected-resource/v1"'
    expect(await ask(headers())).toEqual([401, `Bearer ${common}`, ''])
    expect(await ask(new Headers({ authorization: 'Basic eDp5' }))).toEqual([401, `Bearer ${common}`, ''])
    expect(await ask(new Headers([['authorization', `Bearer ${token}`], ['authorization', `Bearer ${token}`]]))).toMatchObject([400, expect.stringContaining('invalid_request'), expect.anything()])
    expect(await ask(headers('x'))).toMatchObject([401, `Bearer error="invalid_token", error_description="The access token is malformed, expired, revoked or for another resource", ${common}`, expect.anything()])
    expect(await ask(headers(token), requireScope('orders:write'))).toMatchObject([403, expect.stringContaining('scope="orders:write"'), expect.anything()])
    expect(await ask(headers(token), requireAcr('phr', 'phrh'), maxAge(300), maxAge(60))).toMatchObject([
      401, expect.stringContaining('error="insufficient_user_authentication"') && expect.stringContaining('acr_values="phr phrh", max_age="60"'), expect.anything(),
    ])
  })

  test('answers 503 if it cannot check a token', async () => {
    const { token } = await signIn()
    const verifier = newVerifier({ revocation: 'none', fetch: () => Promise.reject(new Error('down')) })
    const { response } = await createResourceServer({ verifier }).check(headers(token))
    expect([response?.status, response?.headers.get('retry-after'), response?.headers.get('www-authenticate')]).toEqual([503, '1', null])
  })

  test('publishes its metadata', async () => {
    const api = createResourceServer({ verifier: newVerifier({ revocation: 'none' }), url: 'https://api.example.com', scopes: ['a'] })
    expect(api.metadataPath).toBe('/.well-known/oauth-protected-resource')
    const response = api.serveMetadata(new Request('https://api.example.com/.well-known/oauth-protected-resource'))
    expect(response?.headers.get('access-control-allow-origin')).toBe('*')
    expect(await response?.json()).toEqual({ resource: 'https://api.example.com', authorization_servers: [server.issuer], scopes_supported: ['a'], bearer_methods_supported: ['header'] })
    expect(api.serveMetadata(new Request('https://api.example.com/x'))).toBeUndefined()
    expect(api.serveMetadata(new Request('https://api.example.com/.well-known/oauth-protected-resource', { method: 'POST' }))?.status).toBe(405)
  })

  test.each(['http://api.example.com', 'api', 'https://api.example.com/a?b', 'https://api.example.com/a/../b', 'https://api.example.com/a//b', 'https://api.example.com/%61'])(
    'rejects the URL %s', (url) => {
      expect(() => createResourceServer({ verifier: newVerifier({ revocation: 'none' }), url })).toThrow(expect.objectContaining({ code: 'invalid_option' }))
    })
})

test('a seen token is verified in microseconds, and a new one costs little more than bare jose', async () => {
  open.push({ close: followTime(server) }) // the feed is lost when the server's time stands still
  const { token } = await signIn()
  const seen = newVerifier()
  const fresh = newVerifier({ revocation: 'none', cacheSize: 0 })
  const { jwks_uri } = (await (await fetch(`${server.issuer}/.well-known/openid-configuration`)).json()) as { jwks_uri: string }
  const remote = createRemoteJWKSet(new URL(jwks_uri))
  // The fastest of many rounds, one after another: other programs slow down single rounds.
  const measure = async (count: number, run: () => Promise<unknown>) => {
    const began = performance.now()
    for (let i = 0; i < count; i++) await run()
    return ((performance.now() - began) / count) * 1000
  }
  let [bare, cold, warm] = [Infinity, Infinity, Infinity]
  for (let round = 0; round < 20; round++) {
    bare = Math.min(bare, await measure(100, () => jwtVerify(token, remote, { issuer: server.issuer, audience: AUDIENCE })))
    cold = Math.min(cold, await measure(100, () => fresh.verify(token)))
    warm = Math.min(warm, await measure(5000, () => seen.verify(token)))
  }
  console.log(`verification: bare jose ${bare.toFixed(1)} µs, new token ${cold.toFixed(1)} µs (${(cold / bare).toFixed(2)} ×), seen token ${warm.toFixed(2)} µs`)
  expect(warm).toBeLessThan(bare / 5)
}, 60_000)

test('memory stays flat over many verifications of more tokens than the cache keeps', async () => {
  const count = Number(process.env['LATCHKEY_SDK_VERIFICATIONS'] ?? 30_000)
  open.push({ close: followTime(server) })
  const { client, token } = await signIn()
  const verifier = newVerifier({ cacheSize: 20 })
  const tokens = [token]
  while (tokens.length < 40) {
    await client.refreshSession()
    tokens.push(await client.getToken({ audience: AUDIENCE }))
  }
  const collect = (globalThis as { gc?: () => void }).gc
  const heap = () => {
    collect?.()
    return process.memoryUsage().heapUsed / 2 ** 20
  }
  // Each token is verified many times in a row, as an API does: some are new, most were seen.
  const verify = async (n: number) => {
    for (let i = 0; i < n; i++) await verifier.verify(tokens[Math.floor(i / 50) % tokens.length]!)
  }
  await verify(count / 3)
  const before = heap()
  await verify((count * 2) / 3)
  const growth = heap() - before
  console.log(`${count} verifications of ${tokens.length} tokens: the heap grew by ${growth.toFixed(1)} MiB`)
  expect(growth).toBeLessThan(collect ? 5 : 40)
}, 300_000)
