/**
 * Keeps a user signed in at a back end that keeps the tokens: the Go package `bff`, or
 * `@latchkey/sdk/next`. No token ever reaches JavaScript.
 *
 * @packageDocumentation
 */
import { parseChallenge, parseChallenges } from './challenge.js'
import type { Claims } from './claims.js'
import type { Client, FetchInit } from './client.js'
import { Endpoint, type Fetch } from './endpoint.js'
import { LatchkeyError } from './error.js'
import type { ClientOptions, CreateSessionOptions, SignOutOptions, StepUpOptions } from './options.js'
import { newQueue } from './queue.js'
import { judge, withRetry } from './retry.js'
import { describe, sessionInfo, type Session, type SessionChange, type SessionEvent, type SessionInfo } from './session.js'

export type { Client, FetchInit } from './client.js'
export type { Claims } from './claims.js'
export type { Fetch } from './endpoint.js'
export { LatchkeyError, type LatchkeyErrorOptions } from './error.js'
export type { CreateSessionOptions, GetTokenOptions, SignOutOptions, StepUpOptions } from './options.js'
export type { Session, SessionChange, SessionEvent, SessionInfo } from './session.js'
export type { Demand } from './state.js'

/** Options of {@link createClient}. */
export interface BffClientOptions extends Pick<ClientOptions, 'autoRefresh' | 'retryWindow' | 'onChallenge' | 'logger'> {
  /**
   * The path of the back end's endpoints, on the page's own origin. Default: `/auth`. Outside of browsers
   * it is a URL, and `fetch` has to keep cookies.
   */
  base?: string
  /** Default: the global `fetch`. */
  fetch?: Fetch
}

/** Proves to the back end that a request comes from a page of the app. */
const CSRF_HEADER = 'latchkey-csrf'
/** How long background work waits after a failure, and how often at most an event of the page asks the back end, in milliseconds. */
const [FAILURE_PAUSE, EVENT_PAUSE] = [5_000, 1_000]
/** The item of `sessionStorage` with the session that the last client token led to. */
const PROOF = 'latchkey-proof'

/** What the back end reports. */
interface Answer {
  session: { id: string; expires_at: number; expires_in: number; claims: Claims } | null
  latchkey_end_reason?: string
}

/** What one page tells the others: the session that has ended, and why, if it knows. */
type Message = { id: string; reason: string } | null

/**
 * Returns a client for pages whose back end keeps the tokens. It has the methods of the client of
 * `@latchkey/sdk`, with these differences:
 *
 * - `getToken` rejects with `no_tokens`. Send requests with `fetch`, to paths that the back end forwards.
 * - `ready` resolves when the back end has reported the session. Until then the session is undefined.
 * - `signOut` rejects if the back end does not respond: only its response deletes the cookie.
 * - The back end chooses the `scope` and the `audience` of a session.
 */
export function createClient(options: BffClientOptions = {}): Client {
  return new BffClient(options)
}

/** Client tokens that are being exchanged: React's Strict Mode runs effects twice. */
const exchanges = new Map<string, Promise<Session>>()

class BffClient implements Client {
  readonly ready: Promise<void>

  readonly #options: BffClientOptions
  readonly #base: URL | undefined
  readonly #endpoint: Endpoint | undefined
  readonly #fetch: Fetch
  readonly #window: number
  readonly #listeners = new Set<(change: SessionChange) => void>()
  readonly #stops: (() => void)[] = []
  #settle!: { resolve: () => void; reject: (error: unknown) => void }
  #session: Session | null | undefined
  /** Why the last session ended; undefined: it did not end. */
  #end: string | undefined
  /** Grows whenever an answer that is under way may be out of date. */
  #version = 0
  #looking: Promise<void> | undefined
  #lookedAt = 0
  /** Runs requests that replace the cookie one after another, so that the last one wins here as in the browser. */
  readonly #exclusive = newQueue()
  #channel: BroadcastChannel | undefined
  #told: Message = null
  #expiresIn = 0
  #failures = 0
  #timer: ReturnType<typeof setTimeout> | undefined
  #disposed = false

  constructor(options: BffClientOptions) {
    this.#options = options
    this.#window = options.retryWindow ?? 10_000
    this.#fetch = options.fetch ?? ((input, init) => fetch(input, init))
    this.ready = new Promise<void>((resolve, reject) => (this.#settle = { resolve, reject }))
    this.ready.catch(() => undefined)
    const page = typeof location === 'undefined' ? undefined : location.href
    const base = options.base ?? '/auth'
    // A server that renders the page has no cookie to send: the session stays undefined there.
    if (!URL.canParse(base, page)) return
    this.#base = new URL(base, page)
    if (page && this.#base.origin !== new URL(page).origin) throw new LatchkeyError('invalid_option', 'base must be on the origin of the page')
    this.#endpoint = new Endpoint(this.#base.href.replace(/\/$/, ''), this.#fetch, this.#window / 3)
    this.#start()
  }

  get session(): Session | null | undefined {
    return this.#session
  }

  #start(): void {
    if (typeof BroadcastChannel !== 'undefined') {
      this.#channel = new BroadcastChannel(`latchkey ${this.#base?.href}`)
      ;(this.#channel as { unref?: () => void }).unref?.() // of Node
      this.#channel.onmessage = ({ data }: MessageEvent<Message>) => {
        this.#told = data
        this.#version++
        this.#background()
      }
    }
    const onEvent = () => {
      if (isVisible() && performance.now() - this.#lookedAt > EVENT_PAUSE) this.#background()
    }
    if (typeof document !== 'undefined') {
      for (const [target, names] of [[window, ['online', 'pageshow', 'focus']], [document, ['visibilitychange', 'resume']]] as const) {
        for (const name of names) {
          target.addEventListener(name, onEvent)
          this.#stops.push(() => target.removeEventListener(name, onEvent))
        }
      }
    }
    this.#background()
  }

  async createSession(clientToken: string, options: CreateSessionOptions = {}): Promise<Session> {
    this.#begin()
    if (options.scope !== undefined || options.audience !== undefined) {
      throw new LatchkeyError('invalid_option', 'the back end chooses the scope and the audience')
    }
    const key = `${this.#base?.href} ${clientToken}`
    let exchange = exchanges.get(key)
    if (!exchange) {
      exchange = this.#exclusive(() => this.#exchange(clientToken, options)).finally(() => exchanges.delete(key))
      exchanges.set(key, exchange)
    }
    return exchange
  }

  async #exchange(clientToken: string, options: CreateSessionOptions): Promise<Session> {
    // A suffix of the signature recognizes a client token after a reload. It proves nothing.
    const proof = clientToken.slice(-24)
    const [id, known] = readProof()
    if (known === proof) {
      if (this.#session === undefined) await this.#look()
      if (this.#session?.id === id) return this.#current()
    }
    const session = await this.#change('/session', { ...proofBody(clientToken, options), device_name: options.deviceName })
    writeProof(session.id, proof)
    return session
  }

  getToken(): Promise<string> {
    return Promise.reject(new LatchkeyError('no_tokens', 'the back end keeps the tokens: send requests with fetch of the client'))
  }

  async refreshSession(): Promise<Session> {
    this.#begin()
    const version = this.#version
    const answer = (await this.#send('/refresh', { method: 'POST' })) as Answer
    if (version === this.#version) this.#accept(answer)
    else await this.#look()
    return this.#current()
  }

  async stepUp(clientToken: string, options: StepUpOptions = {}): Promise<Session> {
    this.#begin()
    return this.#exclusive(() => this.#change('/step-up', proofBody(clientToken, options)))
  }

  async signOut({ scope = 'current' }: SignOutOptions = {}): Promise<void> {
    this.#begin()
    const path = `/session?scope=${scope}`
    if (scope === 'others') {
      await this.#send(path, { method: 'DELETE' })
      return
    }
    await this.#exclusive(async () => {
      await this.#send(path, { method: 'DELETE', keepalive: true })
      this.#changed({ session: null })
    })
  }

  async listSessions(): Promise<SessionInfo[]> {
    this.#begin()
    const { items = [] } = (await this.#send('/sessions', { method: 'GET' })) as { items?: Record<string, unknown>[] }
    return items.map(sessionInfo)
  }

  async revokeSession(id: string): Promise<void> {
    this.#begin()
    if (id === this.#session?.id) return this.signOut()
    await this.#send(`/sessions/${encodeURIComponent(id)}`, { method: 'DELETE' })
  }

  onSessionChange(listener: (change: SessionChange) => void): () => void {
    const own = (change: SessionChange) => listener(change)
    this.#listeners.add(own)
    return () => this.#listeners.delete(own)
  }

  async fetch(input: string | URL | Request, init: FetchInit = {}): Promise<Response> {
    this.#begin()
    const { audience, ...rest } = init
    if (audience !== undefined) throw new LatchkeyError('invalid_option', 'the back end chooses the recipients of tokens')
    const request = new Request(typeof document === 'undefined' && !(input instanceof Request) ? new URL(input, this.#base) : input, rest)
    if (new URL(request.url).origin !== this.#base?.origin) {
      throw new LatchkeyError('invalid_option', 'a request goes to the own back end, which forwards it: the URL has another origin')
    }
    request.headers.set(CSRF_HEADER, '1')
    const again = rest.body instanceof ReadableStream ? undefined : request.clone()
    const response = await this.#fetch(request)
    if (response.status !== 401) return response
    if (isFromBackEnd(response)) {
      // The request was not forwarded. Its cookie may be older than the browser's: another tab has signed in.
      const signedIn = await this.#lost(await endReasonOf(response.clone())).catch(() => false)
      return signedIn && again ? this.#fetch(again) : response
    }
    const demand = again && parseChallenge(response.headers)
    const clientToken = demand && (await this.#options.onChallenge?.(demand))
    if (clientToken === undefined) return response
    await this.stepUp(clientToken, demand)
    return this.#fetch(again as Request)
  }

  dispose(): void {
    this.#disposed = true
    clearTimeout(this.#timer)
    for (const stop of this.#stops.splice(0)) stop()
    this.#channel?.close()
    this.#listeners.clear()
  }

  #begin(): void {
    if (this.#disposed) throw new LatchkeyError('disposed', 'the client was disposed of')
    if (!this.#endpoint) throw new LatchkeyError('invalid_option', 'outside of browsers base must be a URL')
  }

  #current(): Session {
    if (this.#session) return this.#session
    throw this.#end === undefined
      ? new LatchkeyError('not_signed_in', 'nobody is signed in')
      : new LatchkeyError('session_ended', `the session has ended (${this.#end})`, { endReason: this.#end })
  }

  /** Sends a client token. The request outlives the page, so that the browser gets the new cookie. */
  async #change(path: string, body: object): Promise<Session> {
    if (this.#session === undefined) await this.#look()
    const before = this.#session ?? null
    try {
      this.#changed((await this.#send(path, { method: 'POST', body: JSON.stringify(body), keepalive: true })) as Answer)
    } catch (error) {
      if (!(error instanceof LatchkeyError) || error.reason !== 'subject_token_spent') throw error
      // The first attempt may have been carried out, and its response lost after the cookie had arrived.
      this.#version++
      await this.#look()
      if (!this.#session || eventOf(before, this.#session) === 'refreshed') throw error
      this.#channel?.postMessage(null)
    }
    return this.#current()
  }

  /** Accepts the answer to a request that has replaced the cookie, and lets the other tabs look. */
  #changed(answer: Answer): void {
    this.#version++
    this.#accept(answer)
    this.#channel?.postMessage(null)
  }

  /** Sends a request to the back end. If the back end answers that nobody is signed in, it looks up the session. */
  async #send(path: string, init: RequestInit): Promise<unknown> {
    try {
      return await this.#request(path, init)
    } catch (error) {
      if (!(error instanceof LatchkeyError) || error.code !== 'login_required') throw error
      if (!(await this.#lost(error.endReason))) this.#current()
      throw new LatchkeyError('superseded', 'another tab has signed in', { retryable: true, cause: error })
    }
  }

  #request(path: string, init: RequestInit): Promise<unknown> {
    const headers: Record<string, string> = { [CSRF_HEADER]: '1', ...(init.body && { 'content-type': 'application/json' }) }
    return withRetry(this.#window, () => (this.#endpoint as Endpoint).send(path, { ...init, credentials: 'same-origin', headers }))
  }

  /** Asks the back end after it has refused a request for lack of a session. It reports whether somebody is signed in. */
  async #lost(reason: string | undefined): Promise<boolean> {
    if (reason !== undefined && this.#session) {
      this.#told = { id: this.#session.id, reason }
      this.#channel?.postMessage(this.#told)
    }
    this.#version++
    await this.#look()
    return this.#session != null
  }

  /** Asks the back end for the session. All callers share one request, which is repeated if it is out of date. */
  #look(): Promise<void> {
    this.#looking ??= (async () => {
      for (let version; version !== this.#version; ) {
        version = this.#version
        this.#lookedAt = performance.now()
        const answer = (await this.#request('/session', { method: 'GET' })) as Answer
        if (version === this.#version) this.#accept(answer)
      }
    })().finally(() => (this.#looking = undefined))
    return this.#looking
  }

  #accept({ session: next, latchkey_end_reason: reason }: Answer): void {
    const before = this.#session
    const after = next && describe({ id: next.id, expiresAt: next.expires_at, accessToken: '' }, next.claims)
    // The same object until something changes, so that user interfaces can compare it.
    const same = before !== undefined && JSON.stringify(before) === JSON.stringify(after)
    if (!same) this.#session = after
    this.#expiresIn = next?.expires_in ?? 0
    this.#failures = 0
    this.#settle.resolve()
    this.#schedule()
    if (same || before === undefined) return
    const why = after || !before ? undefined : (reason ?? (this.#told?.id === before.id ? this.#told.reason : undefined))
    const event = eventOf(before, after, why)
    this.#end = why
    if (before && reason !== undefined) this.#channel?.postMessage({ id: before.id, reason } satisfies Message)
    this.#log(`session ${event}`)
    const change: SessionChange = { event, session: after, ...(why !== undefined && { reason: why }) }
    for (const listener of [...this.#listeners]) queueMicrotask(() => listener(change))
  }

  /** Asks for the session in the background. After a failure it tries again, with growing pauses. */
  #background(): void {
    if (this.#disposed) return
    this.#look().catch((error: unknown) => {
      this.#failures++
      this.#log(`in the background: ${error instanceof LatchkeyError ? error.code : 'error'}`)
      if (judge(error) !== 'retry') this.#settle.reject(error)
      this.#schedule()
    })
  }

  /** Looks again when the access token at the back end has expired: that refreshes it, or shows that the session has ended. */
  #schedule(): void {
    clearTimeout(this.#timer)
    const idle = !this.#session || this.#options.autoRefresh === false || !isVisible()
    if (this.#disposed || (idle && !this.#failures)) return
    const pause = this.#failures ? FAILURE_PAUSE * 2 ** Math.min(this.#failures - 1, 4) : Math.max(this.#expiresIn * 1000, EVENT_PAUSE)
    this.#timer = setTimeout(() => this.#background(), Math.min(pause, 2 ** 31 - 1))
    ;(this.#timer as { unref?: () => void }).unref?.() // of Node: the timer keeps no process alive
  }

  #log(message: string): void {
    this.#options.logger?.(`latchkey: ${message}`)
  }
}

function eventOf(before: Session | null, after: Session | null, reason?: string): SessionEvent {
  if (!after) return reason === undefined ? 'signed-out' : 'ended'
  if (after.id !== before?.id) return 'signed-in'
  return after.acr !== before.acr || Number(after.authTime) > Number(before.authTime) ? 'stepped-up' : 'refreshed'
}

function proofBody(clientToken: string, { subjectTokenType, acrValues, maxAge }: StepUpOptions) {
  return { client_token: clientToken, subject_token_type: subjectTokenType, acr_values: acrValues, max_age: maxAge === undefined ? undefined : Math.trunc(maxAge) }
}

/** Reports whether a 401 is the back end's own. Those of APIs behind it have other schemes. */
function isFromBackEnd(response: Response): boolean {
  return parseChallenges(response.headers.get('www-authenticate') ?? '').some(({ scheme }) => scheme.toLowerCase() === 'cookie')
}

async function endReasonOf(response: Response): Promise<string | undefined> {
  const body = (await response.json().catch(() => null)) as Partial<Record<string, unknown>> | null
  const reason = body?.['latchkey_end_reason']
  return typeof reason === 'string' ? reason : undefined
}

function isVisible(): boolean {
  return typeof document === 'undefined' || document.visibilityState === 'visible'
}

function readProof(): string[] {
  try {
    return sessionStorage.getItem(PROOF)?.split(' ') ?? []
  } catch {
    return [] // the browser has no storage, or forbids it
  }
}

function writeProof(id: string, proof: string): void {
  try {
    sessionStorage.setItem(PROOF, `${id} ${proof}`)
  } catch {
    // The client token is exchanged again after a reload, which is refused: the session stays.
  }
}
