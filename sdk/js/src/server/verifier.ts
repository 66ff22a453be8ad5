import { LatchkeyError, unavailable } from '../error.js'
import type { Fetch } from '../endpoint.js'
import type { Clock } from '../options.js'
import { readClaims, type AccessToken, type Verified } from './access_token.js'
import { Feed, type WhenLost } from './feed.js'
import { Introspector } from './introspection.js'
import { invalidToken, Issuer } from './issuer.js'
import { isType, MAX_TOKEN, parseCompact, verifySignature, type CompactJws } from './jws.js'
import { KeySource } from './key_source.js'
import { StatusLists } from './status_list.js'
import { Generations } from './token_cache.js'

/**
 * How a verifier learns that a token was revoked before it expired.
 *
 * - `feed`: it follows the issuer's stream of revocations. A revoked token is rejected within a second, and
 *   no request waits for the network.
 * - `status-list`: it looks tokens up in the issuer's Token Status List, which is fetched again when its
 *   `ttl` is over (60 s). Tokens without `status` are rejected: set `status_list` for the client.
 * - `introspection`: it asks the issuer about every token (RFC 7662).
 * - `none`: it accepts tokens until they expire.
 */
export type RevocationMode = 'feed' | 'status-list' | 'introspection' | 'none'

/** Options of {@link createVerifier}. Durations are in seconds. */
export interface VerifierOptions {
  /** The issuer, as in the `iss` of its tokens. */
  issuer: string
  /** The resource server's own name in `aud`. */
  audience: string
  /** Default: `feed`; in a runtime without long-lived processes, such as a function or an edge worker, `status-list`. */
  revocation?: RevocationMode
  /**
   * The resource server's own client at the issuer, which must be allowed to see tokens of the audience.
   * Required for `feed` and `introspection`.
   */
  clientId?: string
  clientSecret?: string
  /**
   * What to do while the feed is lost: before its first snapshot, and after 30 s without a sign of life.
   * `fail-closed` (default) rejects every token as `unavailable`, `introspection` asks the issuer about each.
   */
  whenLost?: WhenLost
  /** Rejects tokens that were issued longer ago. Default: no limit. */
  maxTokenAge?: number
  /** How far the clocks of the issuer and the resource server may differ, at most 60. Default: 30. */
  clockTolerance?: number
  /**
   * Also accepts tokens whose header `typ` is JWT, which the server issues to clients that are configured
   * for it. By default `typ` must be at+jwt (RFC 9068 §4), so that an ID token is never accepted.
   */
  acceptTypJWT?: boolean
  /** The number of verified tokens to keep, so that a signature is verified once. 0: none. Default: 10 000. */
  cacheSize?: number
  /**
   * How long a positive answer of introspection is used, at most 60. It delays the detection of revocations
   * by as much. Default: 0.
   */
  introspectionCache?: number
  /** Default: the global `fetch`. */
  fetch?: Fetch
  clock?: Clock
  /** Receives a message when the feed is lost or restored, and about errors of the configuration. Default: `console.warn`. */
  logger?: (message: string) => void
}

/** The state of a verifier, for health endpoints. */
export interface VerifierStatus {
  /** When the current keys were requested. Undefined: no keys were fetched yet. */
  readonly keysFetchedAt: Date | undefined
  /** The time until which all revocations are known. Undefined: none yet, or the feed is not used. */
  readonly revocationsAsOf: Date | undefined
  /** The number of feed entries in memory. */
  readonly revocations: number
  /** Why tokens cannot be verified at the moment, or only by introspection. Undefined: the verifier works. */
  readonly error: LatchkeyError | undefined
}

/** Verifies the access tokens of one issuer for one resource server. Make one for the whole program. */
export interface Verifier {
  readonly issuer: string
  readonly clockTolerance: number
  /** The time of the verifier's clock, in milliseconds. */
  now(): number
  /**
   * Checks an access token, which is the text after "Bearer " in the Authorization header.
   *
   * It throws `invalid_token` if the token must be rejected (answer 401), and the retryable `unavailable`
   * if it could not be checked (answer 503).
   */
  verify(token: string): Promise<AccessToken>
  /** Returns the state of the verifier. It does not wait. */
  status(): VerifierStatus
  /** Ends the verifier's work in the background. Afterwards `verify` throws `unavailable`. */
  close(): void
}

const DEFAULT_TOLERANCE = 30
/** Bounded by the feed, which removes revocations shortly after the tokens have expired. */
const MAX_TOLERANCE = 60
const DEFAULT_CACHE_SIZE = 10_000
const MAX_INTROSPECTION_CACHE = 60

/**
 * Returns a verifier of access tokens. It throws `invalid_option` if options are missing or contradict each
 * other. It does not wait for the network: keys and revocations are fetched in the background, and the
 * first calls of `verify` wait for them.
 */
export function createVerifier(options: VerifierOptions): Verifier {
  return new TokenVerifier(options)
}

class TokenVerifier implements Verifier {
  readonly issuer: string
  readonly clockTolerance: number
  readonly #options: VerifierOptions
  readonly #issuer: Issuer
  readonly #keys: KeySource
  readonly #cache: Generations<Verified> | undefined
  readonly #feed: Feed | undefined
  /** Checks that a token was not revoked. It returns undefined if that needs no waiting. */
  readonly #notRevoked: (t: Verified, text: string, now: number) => Promise<void> | undefined
  #closed = false

  constructor(options: VerifierOptions) {
    const revocation = options.revocation ?? (isShortLived() ? 'status-list' : 'feed')
    validate(options, revocation)
    const { clientId = '', clientSecret = '', audience, whenLost = 'fail-closed', introspectionCache = 0, cacheSize = DEFAULT_CACHE_SIZE } = options
    this.#options = options
    this.issuer = options.issuer
    this.clockTolerance = options.clockTolerance ?? DEFAULT_TOLERANCE
    const issuer = (this.#issuer = new Issuer(options.issuer, options.fetch, options.clock))
    this.#keys = new KeySource(issuer)
    this.#cache = cacheSize > 0 ? new Generations(cacheSize) : undefined
    const log = (message: string) => (options.logger ?? console.warn)(`latchkey: ${message}`)
    const introspector = new Introspector(issuer, clientId, clientSecret, audience, introspectionCache, log)
    void this.#keys.set.start()
    switch (revocation) {
      case 'feed': {
        const feed = (this.#feed = new Feed(issuer, clientId, clientSecret, audience, whenLost, introspector, log))
        this.#notRevoked = (t, text, now) => feed.check(t, text, now)
        break
      }
      case 'status-list': {
        const lists = new StatusLists(this.#keys, this.clockTolerance)
        this.#notRevoked = (t) => lists.check(t)
        break
      }
      case 'introspection':
        this.#notRevoked = (t, text, now) => introspector.check(t, text, now)
        break
      case 'none':
        this.#notRevoked = () => undefined
    }
  }

  now(): number {
    return this.#issuer.clock.now()
  }

  async verify(token: string): Promise<AccessToken> {
    if (this.#closed) throw unavailable('the verifier is closed')
    if (token.length > MAX_TOKEN) throw invalidToken(`it is longer than ${MAX_TOKEN} characters`)
    const t = this.#cached(token) ?? (await this.#verifyUncached(token))
    const now = this.#issuer.clock.now()
    this.#checkTimes(t, now)
    const pending = this.#notRevoked(t, token, now)
    if (pending) await pending
    return t
  }

  /** Returns a token that was verified before, with a key that the issuer still publishes. */
  #cached(token: string): Verified | undefined {
    const t = this.#cache?.get(token)
    const keys = t && this.#keys.set.peek(this.#issuer.clock.now())
    if (!keys) return undefined // what has to wait for the keys goes the long way
    if (keys.value.get(t.key.kid) === t.key) return t
    this.#cache?.delete(token)
    return undefined
  }

  /** Checks everything that cannot change (RFC 9068 §4). */
  async #verifyUncached(token: string): Promise<Verified> {
    let jws: CompactJws
    let claims: Omit<Verified, 'key'>
    try {
      jws = parseCompact(token)
      if (!isType(jws, 'at+jwt') && !(this.#options.acceptTypJWT && isType(jws, 'jwt'))) throw new Error('typ does not match: expected at+jwt')
      claims = readClaims(jws.claims)
      if (claims.issuer !== this.issuer) throw new Error(`iss does not match: expected ${JSON.stringify(this.issuer)}`)
      if (!claims.audience.includes(this.#options.audience)) throw new Error(`aud does not match: expected ${JSON.stringify(this.#options.audience)}`)
    } catch (error) {
      throw invalidToken((error as Error).message)
    }
    const key = await this.#keys.key(jws.kid)
    try {
      await verifySignature(jws, key)
    } catch (error) {
      throw invalidToken((error as Error).message)
    }
    const t: Verified = { ...claims, key }
    this.#checkTimes(t, this.#issuer.clock.now())
    this.#cache?.set(token, t)
    return t
  }

  /** Checks the claims whose verdict depends on the time. */
  #checkTimes(t: Verified, now: number): void {
    const tolerance = this.clockTolerance * 1000
    const { maxTokenAge } = this.#options
    if (now >= t.exp * 1000 + tolerance) throw invalidToken('expired')
    if (now < t.iat * 1000 - tolerance || now < t.nbf * 1000 - tolerance) throw invalidToken('not valid yet: iat or nbf is in the future')
    if (maxTokenAge && now - t.iat * 1000 > maxTokenAge * 1000) throw invalidToken('iat is longer ago than maxTokenAge')
  }

  status(): VerifierStatus {
    const { current, failure } = this.#keys.set
    let error: LatchkeyError | undefined
    if (!current) error = failure ?? unavailable("the issuer's keys have not been fetched yet")
    else if (this.now() >= current.usableUntil) error = failure
    const asOf = this.#feed?.asOf
    return {
      keysFetchedAt: current && new Date(current.requestedAt),
      revocationsAsOf: asOf && new Date(asOf.wall),
      revocations: this.#feed?.revoked.size ?? 0,
      error: error ?? this.#feed?.problem(),
    }
  }

  close(): void {
    this.#closed = true
    this.#feed?.close()
  }
}

/** Rejects options that contradict each other. */
function validate(o: VerifierOptions, revocation: RevocationMode): void {
  const asks = revocation === 'feed' || revocation === 'introspection'
  const introspects = revocation === 'introspection' || (revocation === 'feed' && o.whenLost === 'introspection')
  const isIn = (value: number | undefined, most: number) => value === undefined || (value >= 0 && value <= most)
  const problem = [
    [!o.audience, 'audience is required'], // otherwise tokens for other resource servers would pass
    [!['feed', 'status-list', 'introspection', 'none'].includes(revocation), `invalid revocation ${JSON.stringify(revocation)}`],
    [o.whenLost !== undefined && !['fail-closed', 'introspection'].includes(o.whenLost), `invalid whenLost ${JSON.stringify(o.whenLost)}`],
    [o.whenLost === 'introspection' && revocation !== 'feed', 'whenLost requires revocation to be "feed"'],
    [asks && !(o.clientId && o.clientSecret), `revocation ${JSON.stringify(revocation)} requires clientId and clientSecret`],
    [Boolean(o.introspectionCache) && !introspects, 'introspectionCache requires introspection'],
    [!isIn(o.introspectionCache, MAX_INTROSPECTION_CACHE), `introspectionCache must be between 0 and ${MAX_INTROSPECTION_CACHE}`],
    [!isIn(o.clockTolerance, MAX_TOLERANCE), `clockTolerance must be between 0 and ${MAX_TOLERANCE}`],
    [Boolean(o.introspectionCache) && o.cacheSize === 0, 'introspectionCache requires a token cache: cacheSize must not be 0'],
    [!isIn(o.maxTokenAge, Infinity), 'maxTokenAge must not be negative'],
  ].find(([applies]) => applies)?.[1]
  if (problem !== undefined) throw new LatchkeyError('invalid_option', `createVerifier: ${String(problem)}`)
}

/** Reports whether processes of this runtime end with their request, so that none can follow a stream. */
export function isShortLived(): boolean {
  const { process, navigator, EdgeRuntime } = globalThis as { process?: { env?: Record<string, string | undefined> }; navigator?: { userAgent?: string }; EdgeRuntime?: unknown }
  const env = process?.env ?? {}
  return (
    EdgeRuntime !== undefined ||
    navigator?.userAgent === 'Cloudflare-Workers' ||
    ['VERCEL', 'AWS_LAMBDA_FUNCTION_NAME', 'NETLIFY', 'FUNCTION_TARGET', 'K_SERVICE', 'DENO_DEPLOYMENT_ID'].some((name) => env[name])
  )
}
