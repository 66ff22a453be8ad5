/**
 * An issuer for the tests of apps and resource servers, in the test's own process, with a clock that the
 * test moves. It works with Vitest, Jest and node:test.
 *
 * @packageDocumentation
 */
import { unverifiedClaims, type Claims } from '../claims.js'
import type { Fetch } from '../endpoint.js'
import type { ClientOptions, Clock } from '../options.js'
import type { VerifierOptions } from '../server/verifier.js'
import { memoryStorage } from '../storage.js'
import { RevocationFeed } from './feed.js'
import { ACCESS_TOKEN_LIFETIME, RETRY_WINDOW, TestSession, type Refusal } from './session.js'
import { Signer, type Algorithm } from './signer.js'
import { StatusListSource } from './status_list.js'

export type { Claims } from '../claims.js'
export type { Algorithm } from './signer.js'
export { ACCESS_TOKEN_LIFETIME, RETRY_WINDOW, SESSION_LIFETIME } from './session.js'

/** The audience of tokens from {@link TestIssuer.token}. */
export const AUDIENCE = 'https://api.example.com'
/** The client of an app, which is public. */
export const CLIENT_ID = 'web'
/** The client of a resource server. */
export const [RESOURCE_CLIENT_ID, RESOURCE_CLIENT_SECRET] = ['api', 'a-client-secret-for-tests-of-40-characters']

/** Options of {@link createIssuer}. */
export interface IssuerOptions {
  /** The `iss` of its tokens. Nothing listens there. Default: `https://issuer.test`. */
  url?: string
  /** Default: `ES256`. */
  algorithm?: Algorithm
  /** The secrets of apps with a back end, by client id. Other clients are public. */
  secrets?: Readonly<Record<string, string>>
}

/** Starts an issuer. It needs no port: give its `fetch` and `clock` to the code under test. */
export async function createIssuer(options: IssuerOptions = {}): Promise<TestIssuer> {
  const signer = new Signer(options.algorithm ?? 'ES256')
  await signer.rotate()
  return new TestIssuer(options.url ?? 'https://issuer.test', signer, options.secrets)
}

/** An issuer in the test's own process. Create it with {@link createIssuer}. */
export class TestIssuer {
  readonly url: string
  /** The real time, moved by `advance`. */
  readonly clock: Required<Clock>

  readonly #signer: Signer
  readonly #feed: RevocationFeed
  readonly #status: StatusListSource
  readonly #secrets: ReadonlyMap<string, string>
  readonly #sessions: TestSession[] = []
  readonly #clientTokens = new Map<string, { sub: string; amr: string[]; exp: number }>()
  /** Client tokens that were used, with the session that they stepped up. */
  readonly #spent = new Map<string, TestSession | undefined>()
  readonly #requests = new Map<string, number>()
  #offset = 0
  #down = false
  #lose = 0

  /** @internal */
  constructor(url: string, signer: Signer, secrets: Readonly<Record<string, string>> = {}) {
    this.url = url
    this.#secrets = new Map([...Object.entries(secrets), [RESOURCE_CLIENT_ID, RESOURCE_CLIENT_SECRET]])
    this.#signer = signer
    this.clock = { now: () => Date.now() + this.#offset, monotonic: () => performance.now() + this.#offset }
    this.#feed = new RevocationFeed(() => this.#now())
    this.#status = new StatusListSource(url, signer, (sid) => this.#feed.revokes(sid))
  }

  /** Answers requests for the issuer, and passes others to the global `fetch`. */
  readonly fetch: Fetch = async (input, init) => {
    const request = new Request(input, init)
    if (!request.url.startsWith(`${this.url}/`)) return fetch(request)
    const path = request.url.slice(this.url.length).split('?', 1)[0] ?? ''
    this.#requests.set(path, this.requestCount(path) + 1)
    if (this.#down) return json(503, { error: 'temporarily_unavailable' })
    const response = await this.#serve(request, path)
    if (request.method === 'POST' && this.#lose > 0) {
      this.#lose--
      throw new TypeError('the response was lost')
    }
    request.signal.throwIfAborted()
    return response
  }

  /** Options of `createClient` for an app, with a storage in memory. */
  clientOptions(): Pick<ClientOptions, 'issuer' | 'clientId' | 'fetch' | 'clock'> & Required<Pick<ClientOptions, 'storage' | 'autoRefresh'>> {
    return { issuer: this.url, clientId: CLIENT_ID, fetch: this.fetch, clock: this.clock, storage: memoryStorage(), autoRefresh: false }
  }

  /** Options of `createVerifier` for a resource server that follows the feed. */
  verifierOptions(): VerifierOptions {
    return {
      issuer: this.url, audience: AUDIENCE, clientId: RESOURCE_CLIENT_ID, clientSecret: RESOURCE_CLIENT_SECRET, revocation: 'feed',
      fetch: this.fetch, clock: this.clock, logger: () => undefined,
    }
  }

  /** Moves the clock: tokens and sessions expire. */
  advance(seconds: number): void {
    this.#offset += seconds * 1000
    this.#feed.beat()
  }

  /** A proof that a user has just signed in. It can be exchanged once, within a minute. Default of `amr`: `['pwd']`. */
  async clientToken(sub: string, claims: Claims = {}): Promise<string> {
    const exp = this.#now() + 60
    const all = { iss: `${this.url}/client-tokens`, aud: this.url, sub, iat: this.#now(), exp, amr: ['pwd'], jti: crypto.randomUUID(), ...claims }
    const token = await this.#signer.sign('JWT', all)
    const { amr } = all
    this.#clientTokens.set(token, { sub, exp: all.exp, amr: Array.isArray(amr) ? amr : [] })
    return token
  }

  /** An access token, without a session at the issuer. */
  token(claims: Claims = {}): Promise<string> {
    return this.#signer.sign('at+jwt', this.#accessClaims({ aud: AUDIENCE, sub: 'alice', client_id: CLIENT_ID, sid: crypto.randomUUID(), ...claims }))
  }

  /** An access token that expired two minutes ago. */
  expiredToken(claims: Claims = {}): Promise<string> {
    return this.token({ iat: this.#now() - 420, exp: this.#now() - 120, ...claims })
  }

  /** An access token with the `kid` of the issuer, which another key has signed. */
  async forgedToken(claims: Claims = {}): Promise<string> {
    const [header, payload] = (await this.token(claims)).split('.')
    const other = new Signer('ES256')
    await other.rotate()
    return `${header}.${payload}.${(await other.sign('at+jwt', {})).split('.')[2]}`
  }

  /** Ends a session, as an administrator would. Its refresh token and its access tokens are rejected from now on. */
  revokeSession(sid: string, reason = 'revoked_by_admin'): void {
    const session = this.#sessions.find(({ id }) => id === sid)
    if (session?.isLive(this.#now())) session.endReason = reason
    this.#feed.revoke(sid)
  }

  /** Revokes the tokens of a user that were issued until now, and ends the user's sessions. */
  revokeUser(sub: string): void {
    for (const session of this.#liveSessions(sub)) this.revokeSession(session.id)
  }

  /** The ids of a user's live sessions. */
  liveSessions(sub: string): string[] {
    return this.#liveSessions(sub).map(({ id }) => id)
  }

  /** Signs with another key from now on. The old keys stay published. */
  rotateKey(): Promise<void> {
    return this.#signer.rotate()
  }

  /** Publishes only the key that signs. */
  removeOldKeys(): void {
    this.#signer.removeOldKeys()
  }

  /** Answers every request with 503, until it is called with false. */
  setDown(down: boolean): void {
    this.#down = down
    if (down) this.#feed.cut()
  }

  /** Carries out the next POST requests, and loses their responses. */
  loseResponses(count: number): void {
    this.#lose = count
  }

  /** The number of requests for a path below the issuer, such as `/token`. */
  requestCount(path: string): number {
    return this.#requests.get(path) ?? 0
  }

  /** Ends open streams. */
  close(): void {
    this.setDown(true)
  }

  /** The issuer's time in Unix seconds. */
  #now(): number {
    return Math.floor(this.clock.now() / 1000)
  }

  #accessClaims(claims: Claims): Claims {
    const now = this.#now()
    const status = this.#status.entry(String(claims['sid']))
    return { iss: this.url, jti: crypto.randomUUID(), iat: now, exp: now + ACCESS_TOKEN_LIFETIME, auth_time: now, status, ...claims }
  }

  #liveSessions(sub: string): TestSession[] {
    return this.#sessions.filter((session) => session.subject === sub && session.isLive(this.#now())).reverse()
  }

  async #serve(request: Request, path: string): Promise<Response> {
    switch (`${request.method} ${path}`) {
      case 'GET /.well-known/openid-configuration':
        return json(200, {
          issuer: this.url, jwks_uri: `${this.url}/.well-known/jwks.json`, token_endpoint: `${this.url}/token`,
          revocation_endpoint: `${this.url}/revoke`, introspection_endpoint: `${this.url}/introspect`,
        })
      case 'GET /.well-known/jwks.json':
        return json(200, this.#signer.keySet(), { 'cache-control': 'public, max-age=300' })
      case 'GET /status/0':
        return new Response(await this.#status.token(this.#now()), { headers: { 'content-type': 'application/statuslist+jwt' } })
      case 'POST /token':
        return this.#authenticated(request, (form, clientId) => this.#token(form, clientId))
      case 'POST /revoke':
        return this.#authenticated(request, (form) => this.#revoke(form))
      case 'POST /introspect':
        return isResource(request) ? this.#introspect(new URLSearchParams(await request.text()).get('token') ?? '') : json(401, { error: 'invalid_client' })
      case 'GET /revocations':
        return isResource(request) ? this.#feed.open(request) : json(401, { error: 'invalid_client' })
      default:
        return /^\/sessions?(\/|$)/.test(path) ? this.#sessionApi(request, path) : json(404, { error: 'not_found' })
    }
  }

  /** Serves the form of a client that is public, or whose secret is in the request (RFC 6749 §2.3.1). */
  async #authenticated(request: Request, serve: (form: URLSearchParams, clientId: string) => Response | Promise<Response>): Promise<Response> {
    const form = new URLSearchParams(await request.text())
    const authorization = request.headers.get('authorization')
    const [basicId, basicSecret] = readBasic(authorization ?? '')
    const clientId = form.get('client_id') ?? basicId
    const secret = authorization === null ? (form.get('client_secret') ?? undefined) : basicSecret
    const isMixed = authorization !== null && (basicId !== clientId || form.has('client_secret'))
    if (isMixed) return json(400, { error: 'invalid_request' })
    if (!clientId || secret !== this.#secrets.get(clientId)) return json(401, { error: 'invalid_client' }, { 'www-authenticate': 'Basic realm="latchkey"' })
    return serve(form, clientId)
  }

  async #token(form: URLSearchParams, clientId: string): Promise<Response> {
    const granted = form.get('grant_type') === 'refresh_token' ? this.#refresh(form, clientId) : this.#exchange(form, clientId)
    if (!(granted instanceof TestSession)) return json(400, granted)
    const session = granted
    session.activeAt = this.#now()
    const wanted = form.getAll('audience')
    const audience = form.get('grant_type') === 'refresh_token' && wanted.length ? wanted : session.audience
    const life = Math.min(ACCESS_TOKEN_LIFETIME, session.expiresAt - session.activeAt)
    const claims = { ...session.claims(form, session.activeAt), aud: audience.length === 1 ? audience[0] : audience, exp: session.activeAt + life }
    return json(200, {
      token_type: 'Bearer', issued_token_type: 'urn:ietf:params:oauth:token-type:access_token', expires_in: life, scope: session.scope,
      access_token: await this.#signer.sign('at+jwt', this.#accessClaims(claims)), refresh_token: session.refreshToken, refresh_grace: RETRY_WINDOW,
      session_id: session.id, session_expires_at: session.expiresAt, latchkey_generation: session.generation,
    })
  }

  #refresh(form: URLSearchParams, clientId: string): TestSession | Refusal {
    const token = form.get('refresh_token') ?? ''
    const session = this.#sessions.find((s) => s.owns(token))
    if (!session) return { error: 'invalid_grant', latchkey_reason: 'refresh_unknown' }
    if (session.clientId !== clientId) return { error: 'invalid_grant', latchkey_reason: 'refresh_unknown' }
    if (session.isLive(this.#now())) {
      if (form.getAll('audience').some((one) => !session.audience.includes(one))) return { error: 'invalid_target' }
      if (!session.satisfies(form, this.#now())) return { error: 'unmet_authentication_requirements' }
    }
    const refusal = session.rotate(token, this.#now())
    if (refusal?.latchkey_reason === 'refresh_reused') this.#feed.revoke(session.id)
    return refusal ?? session
  }

  /** Exchanges a client token, for a new session or as a step-up. */
  #exchange(form: URLSearchParams, clientId: string): TestSession | Refusal {
    if (form.get('grant_type') !== 'urn:ietf:params:oauth:grant-type:token-exchange') return { error: 'unsupported_grant_type' }
    const token = form.get('subject_token') ?? ''
    const handle = form.get('latchkey_session_token')
    const proof = this.#clientTokens.get(token)
    const before = handle ? this.#sessions.find((s) => s.owns(handle)) : undefined
    if (before && this.#spent.get(token) === before && before.isLive(this.#now())) return before // a repetition
    if (this.#spent.has(token)) return { error: 'invalid_request', latchkey_reason: 'subject_token_spent' }
    if (!proof) return { error: 'invalid_request', latchkey_reason: 'subject_token_signature' }
    if (proof.exp <= this.#now()) return { error: 'invalid_request', latchkey_reason: 'subject_token_expired' }
    if (handle && !before) return { error: 'invalid_grant', latchkey_reason: 'refresh_unknown' }
    if (before && !before.isLive(this.#now())) return before.over()
    if (before && before.subject !== proof.sub) return { error: 'invalid_request', latchkey_reason: 'step_up_other_user' }
    const audience = form.getAll('audience')
    const session =
      before ??
      new TestSession({
        subject: proof.sub, clientId, audience: audience.length ? audience : [clientId], scope: form.get('scope') ?? '',
        deviceName: form.get('latchkey_device_name') ?? '', now: this.#now(),
      })
    if (!session.satisfies(form, this.#now(), proof.amr)) return { error: 'unmet_authentication_requirements' }
    this.#spent.set(token, before)
    session.prove(proof.amr, this.#now(), before !== undefined)
    if (!before) this.#sessions.push(session)
    return session
  }

  #revoke(form: URLSearchParams): Response {
    const session = this.#sessions.find((s) => s.owns(form.get('token') ?? ''))
    if (session) this.revokeSession(session.id, 'signed_out')
    return json(200, {})
  }

  #introspect(token: string): Response {
    const claims = this.#valid(token)
    return json(200, claims ? { active: true, token_type: 'Bearer', ...claims } : { active: false })
  }

  /** Returns the claims of a token that this issuer has signed and that is valid. */
  #valid(token: string): Claims | undefined {
    const claims = unverifiedClaims(token)
    if (!this.#signer.hasSigned(token) || Number(claims['exp']) <= this.#now() || this.#feed.revokes(String(claims['sid']))) return undefined
    return claims
  }

  #sessionApi(request: Request, path: string): Response {
    const claims = this.#valid(request.headers.get('authorization')?.replace(/^Bearer /, '') ?? '')
    const own = this.#sessions.find(({ id }) => id === claims?.['sid'])
    if (!claims || !own?.isLive(this.#now()) || ![claims['aud']].flat().includes(own.clientId)) {
      return json(401, { error: 'invalid_token' }, { 'www-authenticate': 'Bearer error="invalid_token"' })
    }
    const list = this.#liveSessions(own.subject)
    const named = path === '/session' ? own : list.find(({ id }) => path === `/sessions/${id}`)
    if (request.method === 'GET') {
      if (path === '/sessions') return json(200, { items: list.map((s) => s.describe(s === own)), next_cursor: null })
      return named ? json(200, named.describe(named === own)) : json(404, { error: 'not_found' })
    }
    if (path !== '/sessions') {
      if (!named) return json(404, { error: 'not_found' })
      this.revokeSession(named.id, 'revoked_by_user')
      return new Response(null, { status: 204 })
    }
    const scope = new URL(request.url).searchParams.get('scope')
    for (const session of list) if (scope === 'all' || session !== own) this.revokeSession(session.id, 'revoked_by_user')
    return new Response(null, { status: 204 })
  }
}

function isResource(request: Request): boolean {
  const [id, secret] = readBasic(request.headers.get('authorization') ?? '')
  return id === RESOURCE_CLIENT_ID && secret === RESOURCE_CLIENT_SECRET
}

/** Returns the client id and the secret of an `Authorization` header. */
function readBasic(header: string): (string | undefined)[] {
  const [scheme, value = ''] = header.split(' ')
  if (scheme?.toLowerCase() !== 'basic') return []
  try {
    return atob(value).split(':').map((part) => decodeURIComponent(part.replaceAll('+', ' ')))
  } catch {
    return []
  }
}

function json(status: number, body: unknown, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(body), { status, headers: { 'content-type': 'application/json', 'cache-control': 'no-store', ...headers } })
}
