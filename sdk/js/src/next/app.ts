import { TokenClient } from '../client.js'
import type { Fetch } from '../endpoint.js'
import { isRetryable, LatchkeyError } from '../error.js'
import type { AccessToken } from '../server/access_token.js'
import type { CookieJar } from '../server/cookie_jar.js'
import { cookieName, CookieStorage } from '../server/cookie_storage.js'
import { basic } from '../server/issuer.js'
import { Sealer } from '../server/sealer.js'
import { createVerifier, isShortLived, type RevocationMode, type Verifier } from '../server/verifier.js'
import { numberClaim, unverifiedClaims } from '../claims.js'
import type { State, Tokens } from '../state.js'
import { isLocal } from './origin.js'
import type { NextOptions } from './options.js'
import { readUpstreams, type Route } from './route.js'

/** How many sessions keep their access tokens for upstreams in memory. */
const MAX_SESSIONS = 1000
/** How long a request waits for sign-outs that an earlier request could not deliver, in milliseconds. */
const SETTLE_TIME = 300
/**
 * How long a request waits for the issuer, in milliseconds: a page before it is rendered, and a call such as a
 * sign-in, whose client token can be sent only once if the response is lost.
 */
export const [RENDER_WINDOW, CALL_WINDOW] = [3000, 10_000]
/** The least time between two replacements of a session's token that was rejected, in milliseconds. */
export const REPLACE_PAUSE = 30_000

type Targets = ConstructorParameters<typeof TokenClient>[1]

/** The session of one request. */
export interface Opened {
  readonly client: TokenClient
  /** The state when it was opened. */
  readonly state: State
  /** Ends the work with it. It throws if the session does not fit into cookies. */
  close(): Promise<void>
}

/** What all requests of this process share. */
export class App {
  readonly options: NextOptions
  readonly cookie: string
  readonly routes: readonly Route[]
  readonly verifier: Verifier
  readonly log: (message: string) => void
  readonly fetch: Fetch
  readonly #revocation: RevocationMode
  readonly #sealer: Sealer
  readonly #audience: string[] | undefined
  readonly #targets = new Map<string, Targets>()
  readonly #refreshes = new Map<string, Promise<Response>>()

  constructor(options: NextOptions) {
    const { issuer, clientId, clientSecret, cookieKeys, audience = [], logger } = options
    if (!cookieKeys || cookieKeys.length === 0) throw new LatchkeyError('invalid_option', 'cookieKeys is required: a key is what openssl rand -base64 32 prints')
    this.options = options
    this.cookie = cookieName(options.cookieName, options.loopback)
    this.#sealer = new Sealer(cookieKeys)
    this.routes = readUpstreams(options.upstreams ?? {})
    this.log = (message) => (logger ?? console.warn)(`latchkey: ${message}`)
    // Frameworks may cache what `fetch` returns: tokens and sessions must not be.
    this.fetch = (input, init) => (options.fetch ?? fetch)(input, { cache: 'no-store', ...init })
    this.#revocation = options.revocation ?? (clientSecret && !isShortLived() ? 'feed' : 'status-list')
    const more = [...new Set([audience, ...this.routes.map((route) => route.audience ?? [])].flat())].filter((a) => a !== clientId)
    this.#audience = more.length > 0 ? [clientId, ...more] : undefined
    this.verifier = createVerifier({
      issuer, audience: clientId, clientId, revocation: this.#revocation, fetch: this.fetch,
      ...(clientSecret && { clientSecret }),
      ...(logger && { logger }),
    })
  }

  /** The scope and the audience of new sessions. */
  get grants(): { scope?: string; audience?: string[] } {
    const { scope } = this.options
    return { ...(scope !== undefined && { scope }), ...(this.#audience && { audience: this.#audience }) }
  }

  #storage(cookies: CookieJar): CookieStorage {
    return new CookieStorage(cookies, this.#sealer, this.cookie, !this.options.loopback)
  }

  /** Returns the state in the cookies of a request. */
  state(cookies: CookieJar): Promise<State> {
    return this.#storage(cookies).state()
  }

  /** Opens the session of a request. `isReadOnly` reports whether the response cannot have cookies. */
  async open(cookies: CookieJar, headers: Headers, isReadOnly: () => boolean = () => false, window = CALL_WINDOW): Promise<Opened> {
    this.checkHost(headers)
    const storage = this.#storage(cookies)
    const state = await storage.state()
    let failure: LatchkeyError | undefined
    const client = new TokenClient(
      {
        issuer: this.options.issuer, clientId: this.options.clientId, storage, autoRefresh: false,
        retryWindow: this.options.retryWindow ?? window,
        fetch: this.#fetchFor(headers.get('user-agent'), isReadOnly),
        onError: (error) => (failure = error),
      },
      state.session ? this.#targetsOf(state.session) : undefined,
    )
    await client.ready
    return {
      client, state,
      close: async () => {
        await Promise.race([client.settle(), new Promise((resolve) => setTimeout(resolve, SETTLE_TIME))])
        client.dispose()
        if (failure?.cause instanceof LatchkeyError) throw failure.cause
      },
    }
  }

  /** With the option `loopback` other hosts have no session: the cookie is not protected there. */
  checkHost(headers: Headers): void {
    if (this.options.loopback && !isLocal(headers.get('host') ?? '')) throw new LatchkeyError('not_signed_in', 'the option loopback serves localhost only')
  }

  /** Reports whether this runtime can verify tokens: the Edge Runtime of Next.js cannot decompress status lists. */
  get canVerify(): boolean {
    return this.#revocation !== 'status-list' || !('EdgeRuntime' in globalThis)
  }

  /** Verifies the access token of the session's cookie. */
  async verify(tokens: Tokens): Promise<AccessToken> {
    if (!this.canVerify) throw new LatchkeyError('invalid_option', 'the Edge Runtime cannot read status lists: render the page in the Node.js runtime, or set the option revocation')
    const claims = unverifiedClaims(tokens.accessToken)
    if (this.#revocation === 'status-list' && claims['status'] === undefined) {
      throw new LatchkeyError('invalid_option', `the tokens of the client ${JSON.stringify(this.options.clientId)} have no status: set status_list for the client, or the option revocation`)
    }
    const token = await this.verifier.verify(tokens.accessToken)
    if (token.sessionId === tokens.id && token.clientId === this.options.clientId) return token
    throw new LatchkeyError('invalid_token', 'the access token is rejected: it is of another session or client', { status: 401 })
  }

  /**
   * Returns the tokens for single targets that requests of a session share. A step-up makes others: an
   * upstream would reject the earlier ones again.
   */
  #targetsOf(session: Tokens): Targets {
    const claims = unverifiedClaims(session.accessToken)
    return keepNewest(this.#targets, JSON.stringify([session.id, claims['acr'], numberClaim(claims, 'auth_time')]), MAX_SESSIONS, () => new Map())
  }

  /** Returns a `fetch` for the requests to the issuer on behalf of a browser. */
  #fetchFor(userAgent: string | null, isReadOnly: () => boolean): Fetch {
    const { clientId, clientSecret } = this.options
    return async (input, init) => {
      const headers = new Headers(init?.headers)
      if (userAgent) headers.set('user-agent', userAgent)
      const { body } = init ?? {}
      if (!(body instanceof URLSearchParams)) return this.fetch(input, { ...init, headers })
      if (isReadOnly()) throw new LatchkeyError('read_only', 'a server component cannot store tokens: call this in a server action or a route handler')
      if (clientSecret) headers.set('authorization', basic(clientId, clientSecret))
      const send = () => this.fetch(input, { ...init, headers })
      return body.get('grant_type') === 'refresh_token' ? this.#share(body.toString(), send) : send()
    }
  }

  /** Sends the same refresh once for all requests that need it at the moment, such as prefetches of a page. */
  async #share(key: string, send: () => Promise<Response>): Promise<Response> {
    let response = this.#refreshes.get(key)
    if (!response) {
      response = send().finally(() => this.#refreshes.delete(key))
      this.#refreshes.set(key, response)
    }
    return (await response).clone()
  }
}

/** Returns the entry of a map that drops its oldest. */
export function keepNewest<V>(map: Map<string, V>, key: string, most: number, make: () => V): V {
  const value = map.get(key) ?? make()
  map.delete(key)
  map.set(key, value)
  const [oldest] = map.keys()
  if (map.size > most && oldest !== undefined) map.delete(oldest)
  return value
}

/** Reports whether the server refuses the token of the cookie, although the session may have a newer one. */
export function isRefusedToken(error: unknown): boolean {
  return error instanceof LatchkeyError && error.status === 400 && error.code === 'invalid_grant' && !isRetryable(error)
}
