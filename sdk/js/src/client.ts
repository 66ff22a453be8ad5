import { textOf } from './claims.js'
import { Endpoint, isSecure, type Fetch } from './endpoint.js'
import { LatchkeyError, isRetryable, unavailable } from './error.js'
import { indexedDBStorage } from './indexeddb_storage.js'
import { findChallenge, parseChallenge } from './challenge.js'
import type { ClientOptions, Clock, CreateSessionOptions, GetTokenOptions, SignOutOptions, StepUpOptions } from './options.js'
import { newQueue } from './queue.js'
import { judge, withRetry } from './retry.js'
import { describe, difference, sessionInfo, type Session, type SessionChange, type SessionInfo } from './session.js'
import {
  ended,
  lead,
  longestLived,
  refreshed,
  revoked,
  signedIn,
  signedOut,
  steppedUp,
  stepUpAnswered,
  stepUpSent,
  type Demand,
  type PendingStepUp,
  type Revocation,
  type State,
  type Tokens,
} from './state.js'
import type { Storage } from './storage.js'
import { Vault } from './vault.js'

const TOKEN_TYPE_JWT = 'urn:ietf:params:oauth:token-type:jwt'
const GRANT_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'

/** The longest life of an access token that is accepted, in seconds. */
const MAX_EXPIRES_IN = 366 * 24 * 3600
/** How long a pending step-up waits before it is sent again while a fresh access token is at hand. */
const PENDING_PAUSE = 15_000
/** How long background work waits after a failure. */
const FAILURE_PAUSE = 5_000
/** How many access tokens for single targets are kept in memory. */
const MAX_TARGETS = 16
/** The key of the session's own access token: the form of no target. */
const OWN = '{}'

/** An access token and its life, by the clock of this device. */
type Access = Pick<Tokens, 'accessToken' | 'expiresIn' | 'receivedAt'>

/** Options of `fetch` of a client. */
export interface FetchInit extends RequestInit {
  /** Sends a token for these recipients only. */
  audience?: string | readonly string[]
}

/**
 * Keeps a user signed in. Create one client for the whole app.
 *
 * Every method may be called at any time, by any number of callers and tabs at once.
 */
export interface Client {
  /** Resolves when the storage was read. It rejects if there is no storage. */
  readonly ready: Promise<void>
  /** The session. Undefined until `ready`; null if nobody is signed in. */
  readonly session: Session | null | undefined
  /**
   * Exchanges a client token, the proof that a user has just signed in, for a session. Each client token
   * is exchanged once: a repeated call returns the same session. An earlier session is signed out.
   */
  createSession(clientToken: string, options?: CreateSessionOptions): Promise<Session>
  /**
   * Returns a valid access token, refreshed if it expires soon. While the server does not respond, it
   * returns the old one until that expires.
   *
   * It throws `not_signed_in` or `session_ended` if the user has to sign in,
   * `unmet_authentication_requirements` if a demand requires a step-up, and a retryable error only when
   * no valid token is left.
   */
  getToken(options?: GetTokenOptions): Promise<string>
  /** Refreshes the access token now, and returns the session. */
  refreshSession(): Promise<Session>
  /**
   * Adds another proof of the user, a client token, to the session. The request is stored before it is
   * sent. If no response comes, it throws a retryable error, and the client sends the request again by
   * itself, also after a reload.
   */
  stepUp(clientToken: string, options?: StepUpOptions): Promise<Session>
  /**
   * Signs out. It removes the session of this app immediately, even offline, and ends it at the server as
   * soon as the server responds. With the scope `others` it throws if the server does not respond.
   */
  signOut(options?: SignOutOptions): Promise<void>
  /** Returns the user's live sessions at all apps, the newest first. */
  listSessions(): Promise<SessionInfo[]>
  /** Ends one of the user's sessions. */
  revokeSession(id: string): Promise<void>
  /** Calls a listener after each change of the session, in this tab or in another. It returns a function that removes the listener. */
  onSessionChange(listener: (change: SessionChange) => void): () => void
  /**
   * Calls `fetch` with the access token. If the response is a 401 that rejects the token, it sends the
   * request again with another token; if the response requires a step-up (RFC 9470), it calls
   * `onChallenge` and sends the request again after the step-up. A request whose body is a stream is sent
   * once. Use it only for your own APIs: they receive the user's token.
   */
  fetch(input: string | URL | Request, init?: FetchInit): Promise<Response>
  /** Ends all work in the background. The session stays in the storage. */
  dispose(): void
}

/** Returns a client. It reads the storage in the background, and sends no request before it is used. */
export function createClient(options: ClientOptions): Client {
  return new TokenClient(options)
}

/** Client tokens that are being exchanged, by client and token: React's Strict Mode runs effects twice. */
const exchanges = new Map<string, Promise<Tokens>>()

/** The implementation of {@link Client}. Its further methods are for other modules of the SDK. */
export class TokenClient implements Client {
  readonly ready: Promise<void>

  readonly #options: ClientOptions
  readonly #endpoint: Endpoint
  readonly #fetch: Fetch
  readonly #clock: Required<Clock>
  readonly #window: number
  readonly #vault: Vault
  readonly #listeners = new Set<(change: SessionChange) => void>()
  readonly #targets: Map<string, Access>
  readonly #flights = new Map<string, Promise<Access>>()
  readonly #disposed = new AbortController()
  readonly #ofRequest: boolean
  readonly #random = Math.random()
  #session: Session | null | undefined
  /** Why the last session ended; undefined: it did not end. */
  #end: string | undefined
  /** When this page received its newest access tokens, by a clock that nobody can set. */
  readonly #received = new Map<string, number>()
  readonly #enqueue = newQueue()
  #pendingTriedAt = 0
  /** A token that was refused because a newer one exists, and the error. Sent again after the retry window, it would end the session. */
  #stale: { token: string | undefined; error: LatchkeyError } | undefined
  #timer: ReturnType<typeof setTimeout> | undefined
  #failures = 0
  #looking: Promise<unknown> | undefined

  /** `targets` are access tokens for single targets that the clients of one session share. */
  constructor(options: ClientOptions, targets = new Map<string, Access>()) {
    this.#options = options
    this.#targets = targets
    this.#ofRequest = !!options.storage?.ofRequest
    this.#window = options.retryWindow ?? 10_000
    this.#fetch = options.fetch ?? ((input, init) => fetch(input, init))
    this.#endpoint = new Endpoint(options.issuer, this.#fetch, this.#window / 3)
    if (!options.clientId || !(this.#window > 0)) throw new LatchkeyError('invalid_option', 'clientId is required, and retryWindow must be positive')
    const { clock } = options
    this.#clock = {
      now: () => (clock ?? Date).now(),
      monotonic: () => clock?.monotonic?.() ?? (clock ?? performance).now(),
    }
    const storage = options.storage ?? defaultStorage(options)
    this.#vault = new Vault(
      storage as Storage, // `ready` rejects if it is undefined, and nothing uses it before
      (before, after) => this.#changed(before, after),
      (error) => this.#report(error),
    )
    this.ready = this.#start(storage)
    this.ready.catch(() => undefined)
  }

  get session(): Session | null | undefined {
    return this.#session
  }

  async #start(storage: Storage | undefined): Promise<void> {
    if (!storage) throw new LatchkeyError('storage_required', 'outside of browsers the option storage is required')
    await this.#vault.load()
    this.#session ??= null
    const { signal } = this.#disposed
    if (signal.aborted) return
    if (this.#ofRequest) return this.#look()
    const unsubscribe = storage.subscribe?.(() => void this.#vault.load())
    if (unsubscribe) signal.addEventListener('abort', unsubscribe)
    const look = () => this.#look()
    // React Native has no events of a page.
    const listen = (target: Partial<EventTarget>, name: string) => target.addEventListener?.(name, look, { signal })
    for (const name of ['online', 'pageshow', 'focus']) listen(globalThis, name)
    if (typeof document !== 'undefined') for (const name of ['visibilitychange', 'resume']) listen(document, name)
    look()
  }

  async createSession(clientToken: string, options: CreateSessionOptions = {}): Promise<Session> {
    await this.#begin()
    const key = [this.#options.issuer, this.#options.clientId, clientToken].join(' ')
    const started = exchanges.get(key)
    if (started) {
      const tokens = await started
      // Each request of a server has a storage of its own.
      if (this.#ofRequest) await this.#vault.apply(signedIn(tokens, this.#clock.now()))
      return describe(await this.load())
    }
    const exchange = this.#exchange(clientToken, options).finally(() => exchanges.delete(key))
    exchanges.set(key, exchange)
    return describe(await exchange)
  }

  async #exchange(clientToken: string, options: CreateSessionOptions): Promise<Tokens> {
    const proof = proofOf(clientToken)
    /** The session that this client token has made, here or a moment ago in another tab. */
    const made = async () => {
      const { session } = await this.#vault.load()
      return session?.proof === proof ? session : undefined
    }
    const before = await made()
    if (before) return before
    try {
      const tokens = await this.#retry(() =>
        this.#request({
          ...exchangeForm(clientToken, options),
          scope: options.scope,
          audience: options.audience,
          latchkey_device_name: options.deviceName,
        }),
      )
      this.#end = undefined
      const state = await this.#vault.apply(signedIn({ ...tokens, proof }, this.#clock.now()))
      this.#looking = this.#revoke(state)
      return this.#need(state)
    } catch (error) {
      const other = await made()
      if (other) return other
      throw error
    }
  }

  async getToken(options: GetTokenOptions = {}): Promise<string> {
    await this.#begin()
    return this.token(options)
  }

  async refreshSession(): Promise<Session> {
    await this.#begin()
    await this.#refresh(OWN, (await this.load()).accessToken)
    this.#targets.clear()
    return describe(this.#need())
  }

  async stepUp(clientToken: string, options: StepUpOptions = {}): Promise<Session> {
    await this.#begin()
    const { subjectTokenType, acrValues, maxAge } = options
    const pending: PendingStepUp = { clientToken, subjectTokenType, acrValues, maxAge }
    const resolve = () => this.#retry(() => this.#resolveStepUp())
    await this.#share('step-up ' + clientToken, async () => {
      let session = await this.load()
      if (session.proof === proofOf(clientToken)) return session
      if (session.pending && session.pending.clientToken !== clientToken) {
        // The caller did not ask for this step-up: it gets no refusal of it, but must wait while its outcome is unknown.
        session = await resolve().catch((error: unknown) => {
          if (isRetryable(error)) throw error
          return this.#need()
        })
      }
      if (!session.pending) await this.#vault.apply(stepUpSent(session.id, pending))
      return resolve()
    })
    return describe(this.#need())
  }

  async signOut({ scope = 'current' }: SignOutOptions = {}): Promise<void> {
    await this.#begin()
    if (scope === 'others') {
      await this.call('DELETE', '/sessions?scope=others')
      return
    }
    const { session } = await this.#vault.load()
    if (!session) return
    const state = await this.#vault.apply(signedOut(session.id, scope, this.#clock.now()))
    await this.#revoke(state)
  }

  async listSessions(): Promise<SessionInfo[]> {
    await this.#begin()
    const list: SessionInfo[] = []
    for (let cursor = ''; ; ) {
      const page = (await this.call('GET', `/sessions?limit=200${cursor}`)) as { items?: Record<string, unknown>[]; next_cursor?: string | null }
      list.push(...(page.items ?? []).map(sessionInfo))
      if (!page.next_cursor) return list
      cursor = `&cursor=${encodeURIComponent(page.next_cursor)}`
    }
  }

  async revokeSession(id: string): Promise<void> {
    await this.#begin()
    if (id === this.#vault.state.session?.id) return this.signOut()
    await this.call('DELETE', `/sessions/${encodeURIComponent(id)}`)
  }

  onSessionChange(listener: (change: SessionChange) => void): () => void {
    // A function of its own, so that one listener can be added twice.
    const own = (change: SessionChange) => listener(change)
    this.#listeners.add(own)
    return () => this.#listeners.delete(own)
  }

  async fetch(input: string | URL | Request, init: FetchInit = {}): Promise<Response> {
    const { audience, ...rest } = init
    const request = new Request(input, rest)
    if (!isSecure(request.url)) throw new LatchkeyError('invalid_option', 'tokens are sent to an https URL (or http on loopback) only')
    // React Native has no ReadableStream.
    const again = typeof ReadableStream !== 'undefined' && rest.body instanceof ReadableStream ? undefined : request.clone()
    const token = await this.getToken({ audience })
    const response = await this.#fetch(authorized(request, token))
    if (response.status !== 401 || !again) return response
    const demand = parseChallenge(response.headers)
    if (demand) {
      const clientToken = await this.#options.onChallenge?.(demand)
      if (clientToken === undefined) return response
      await this.stepUp(clientToken, demand)
    } else if (response.headers.has('www-authenticate') && !findChallenge(response.headers, 'invalid_token')) {
      return response
    }
    // After the step-up, the session's own token meets the demand. A token for other recipients is requested with it.
    const next = await this.token({ audience, ...(audience && demand) }, demand ? undefined : token)
    return this.#fetch(authorized(again, next))
  }

  dispose(): void {
    this.#disposed.abort()
    clearTimeout(this.#timer)
    this.#listeners.clear()
  }

  /** Waits until the sign-outs that were sent in the background are answered or have failed. */
  async settle(): Promise<void> {
    await this.#looking
  }

  /** Waits for the storage, and rejects calls of a client that was disposed of. */
  async #begin(): Promise<void> {
    if (this.#disposed.signal.aborted) throw new LatchkeyError('disposed', 'the client was disposed of')
    await this.ready
  }

  /** Returns the tokens of the session. It throws `not_signed_in` or `session_ended` if nobody is signed in. */
  #need({ session } = this.#vault.state): Tokens {
    if (session) return session
    if (this.#end === undefined) throw new LatchkeyError('not_signed_in', 'nobody is signed in')
    throw new LatchkeyError('session_ended', `the session has ended (${this.#end})`, { endReason: this.#end })
  }

  #retry<T>(attempt: () => Promise<T>): Promise<T> {
    return withRetry(this.#window, attempt, this.#ofRequest)
  }

  /** Reads the storage, and returns the tokens of the session. */
  async load(): Promise<Tokens> {
    return this.#need(await this.#vault.load())
  }

  /** Returns a valid access token, but not one that was rejected. */
  async token(options: GetTokenOptions = {}, rejected?: string): Promise<string> {
    const key = targetKey(options)
    const session = await this.load()
    let access: Access | undefined = key === OWN ? session : this.#targets.get(key)
    if (access?.accessToken === rejected) access = undefined
    const due = session.pending && this.#clock.now() - this.#pendingTriedAt >= PENDING_PAUSE
    if (access && !due && this.#isFresh(access)) return access.accessToken
    try {
      return (await this.#refresh(key, access?.accessToken ?? rejected)).accessToken
    } catch (error) {
      if (access && isRetryable(error) && this.#session && this.#age(access) < access.expiresIn) return access.accessToken
      throw error
    }
  }

  /** Milliseconds of the clock that shows more, in seconds: one stops during sleep, the other may be set. */
  #age(access: Access): number {
    const { now, monotonic } = this.#clock
    const wall = now() - access.receivedAt
    const at = this.#received.get(access.accessToken)
    if (at !== undefined) return Math.max(wall, monotonic() - at) / 1000
    return wall < 0 ? Infinity : wall / 1000
  }

  #isFresh(access: Access): boolean {
    return this.#age(access) < access.expiresIn - lead(access.expiresIn, this.#random)
  }

  /** Runs work that uses the refresh token: callers with one key share it, others wait for each other. */
  #share(key: string, run: () => Promise<Access>): Promise<Access> {
    let flight = this.#flights.get(key)
    if (!flight) {
      flight = this.#enqueue(run).finally(() => this.#flights.delete(key))
      this.#flights.set(key, flight)
    }
    return flight
  }

  /** Returns another token than `had` for a target. */
  #refresh(key: string, had: string | undefined): Promise<Access> {
    return this.#share(key, () => this.#retry(() => this.#refreshOnce(key, had)))
  }

  async #refreshOnce(key: string, had: string | undefined, tries = 3): Promise<Access> {
    const sent = await this.#resolveStepUp()
    const own = key === OWN
    if (own && sent.accessToken !== had && this.#isFresh(sent)) return sent
    const again = () => this.#refreshOnce(key, had, tries - 1)
    let answer: Tokens
    try {
      answer = await this.#request({ grant_type: 'refresh_token', refresh_token: sent.refreshToken, ...(JSON.parse(key) as Form) }, sent.id)
    } catch (error) {
      if ((await this.#refused(error, sent)) && tries > 0) return again()
      throw error
    }
    if (!own) keep(this.#targets, key, answer)
    // A step-up has used the refresh token: the answer is for the time before it, and is not stored.
    if (!answer.refreshToken && sent.refreshToken) return answer
    const { accessToken, expiresIn, receivedAt, scope } = own ? answer : sent
    const { session } = await this.#vault.apply(refreshed({ ...sent, ...answer, accessToken, expiresIn, receivedAt, scope }))
    if (session?.id !== sent.id) {
      this.#targets.clear()
      // Somebody has signed out, or in as another user, in the meantime.
      this.#need()
      return again()
    }
    return own && this.#isFresh(session) ? session : answer
  }

  /**
   * Does what a refusal of a request with the session's refresh token means. It reports whether the
   * storage holds another token, which is worth an attempt.
   */
  async #refused(error: unknown, sent: Tokens): Promise<boolean> {
    const verdict = judge(error, this.#ofRequest)
    if (verdict !== 'end' && verdict !== 'reload') return false
    const { endReason, reason, code } = error as LatchkeyError
    const token = longestLived(sent)
    await (verdict === 'end' ? this.#vault.apply(ended(sent.id, token, endReason ?? reason ?? code, this.#clock.now())) : this.#vault.load())
    if (longestLived(this.#need()) !== token) return true
    this.#stale = { token, error: new LatchkeyError('superseded', 'another tab or process has newer tokens', { retryable: reason !== 'chain_mismatch', reason, cause: error }) }
    throw this.#stale.error
  }

  /** Sends the step-up that is pending, if there is one, and returns the tokens from then on. */
  async #resolveStepUp(tries = 3): Promise<Tokens> {
    const sent = await this.load()
    const { pending } = sent
    if (this.#stale?.token === longestLived(sent)) throw this.#stale.error
    if (!pending) return sent
    const { clientToken } = pending
    const repeated = this.#pendingTriedAt !== 0 || tries < 3
    this.#pendingTriedAt = this.#clock.now()
    let change = stepUpAnswered(sent.id, clientToken)
    let refusal: LatchkeyError | undefined
    try {
      const answer = await this.#request({ ...exchangeForm(clientToken, pending), latchkey_session_token: longestLived(sent) }, sent.id)
      this.#targets.clear()
      change = steppedUp({ ...sent, ...answer, proof: proofOf(clientToken) }, clientToken)
    } catch (error) {
      if (!(error instanceof LatchkeyError) || error.retryable) throw error
      // The first request may have arrived only now, or another tab may have the answer.
      if (tries > 0 && ((await this.#refused(error, sent)) || (error.reason === 'subject_token_spent' && tries > 2))) return this.#resolveStepUp(tries - 1)
      if (repeated && /^(invalid|unauthorized)_client$/.test(error.code)) throw error // what became of the first request is unknown
      refusal = error
    }
    this.#pendingTriedAt = 0
    const state = await this.#vault.apply(change)
    if (refusal) throw refusal
    return this.#need(state)
  }

  /** Sends a request to the token endpoint. A life counts from when the request was sent. */
  async #request(form: Form, id?: string): Promise<Tokens> {
    const [receivedAt, at] = [this.#clock.now(), this.#clock.monotonic()]
    const answer = ((await this.#endpoint.post('/token', { client_id: this.#options.clientId, ...form })) ?? {}) as Record<string, unknown>
    const text = (name: string) => textOf(answer[name])
    const { expires_in: expiresIn, session_expires_at: expiresAt, latchkey_generation: generation } = answer
    const [sid, accessToken, refreshToken, sessionToken] = ['session_id', 'access_token', 'refresh_token', 'session_token'].map(text)
    const isBearer = /^bearer$/i.test(text('token_type') ?? '')
    if (!sid || !accessToken || !isCount(expiresIn) || expiresIn > MAX_EXPIRES_IN || !isCount(expiresAt) || !isBearer || (id ?? sid) !== sid) {
      throw unavailable('unexpected response from /token: a member is missing or invalid')
    }
    keep(this.#received, accessToken, at)
    return {
      id: sid, generation: isCount(generation) ? generation : 0, expiresAt, scope: text('scope') ?? '', accessToken, expiresIn, receivedAt,
      ...(refreshToken && { refreshToken }), ...(sessionToken && { sessionToken }),
    }
  }

  /** Sends a request to the session API, and once more with another token if the first was rejected. */
  async call(method: string, path: string): Promise<unknown> {
    const send = (by: string) => this.#retry(() => this.#endpoint.send(path, { method, headers: bearer(by) }))
    const token = await this.token()
    return send(token).catch(async (error: unknown) => {
      if (codeOf(error) !== 'invalid_token') throw error
      return send(await this.token({}, token))
    })
  }

  /** Tells the server of every sign-out that it has not confirmed. A failure is left for later. */
  async #revoke(state: State): Promise<void> {
    for (const revocation of state.revocations) {
      try {
        await this.#revokeOne(revocation)
      } catch (error) {
        if (isRetryable(error)) continue
        this.#log(`sign-out refused: ${codeOf(error)}`)
      }
      await this.#vault.apply(revoked(revocation.id))
    }
  }

  async #revokeOne({ token, accessToken, scope }: Revocation): Promise<unknown> {
    const keepalive = true
    if (scope !== 'all') return this.#endpoint.post('/revoke', { client_id: this.#options.clientId, token }, { keepalive })
    const endAll = (by: string) => this.#endpoint.send('/sessions?scope=all', { method: 'DELETE', headers: bearer(by), keepalive })
    return endAll(accessToken).catch(async (error: unknown) => {
      if (isRetryable(error)) throw error
      // The access token has expired: the refresh token yields another one.
      return endAll((await this.#request({ grant_type: 'refresh_token', refresh_token: token })).accessToken)
    })
  }

  /** Looks at the session: the clock may have moved, and other tabs may have changed it. */
  #look(): void {
    this.#looking = this.#lookNow().then(
      () => (this.#failures = 0),
      (error: unknown) => {
        this.#failures++
        this.#log(`in the background: ${codeOf(error)}`)
      },
    ).finally(() => this.#schedule())
  }

  async #lookNow(): Promise<void> {
    const state = await this.#vault.load()
    if (state.revocations.length) await this.#revoke(state)
    const { session } = state
    if (session && this.#isActive() && (session.pending ?? !this.#isFresh(session))) await this.#refresh(OWN, session.accessToken)
  }

  /** Reports whether this page refreshes by itself now. */
  #isActive(): boolean {
    return !this.#disposed.signal.aborted && this.#options.autoRefresh !== false && (typeof document === 'undefined' || document.visibilityState === 'visible')
  }

  /** Looks again when the access token is due. The timer may fire late: the clock decides. */
  #schedule(): void {
    clearTimeout(this.#timer)
    const { session, revocations } = this.#vault.state
    if (!this.#isActive() || (!session && !revocations.length)) return
    const pause =
      this.#failures || !session
        ? FAILURE_PAUSE * 2 ** Math.min(this.#failures, 4)
        : Math.max((session.expiresIn - lead(session.expiresIn, this.#random) - this.#age(session)) * 1000, 500)
    this.#timer = setTimeout(() => this.#look(), Math.min(pause, 2 ** 31 - 1))
    ;(this.#timer as { unref?: () => void }).unref?.() // of Node: the timer keeps no process alive
  }

  #changed(before: State, after: State): void {
    const first = this.#session === undefined
    const what = difference(before, after)
    // The same object until something changes, so that user interfaces can compare it.
    if (what ?? first) this.#session = after.session && describe(after.session)
    if (!what) return
    if (what.event !== 'refreshed' && what.event !== 'stepped-up') this.#end = what.reason
    const other = after.session?.id !== before.session?.id
    if (first) return
    if (other) this.#targets.clear()
    this.#log(`session ${what.event}`)
    if (!this.#timer || other) this.#schedule()
    const change: SessionChange = { ...what, session: this.#session ?? null }
    for (const listener of [...this.#listeners]) {
      queueMicrotask(() => listener(change))
    }
  }

  #report(error: LatchkeyError): void {
    this.#log(error.code)
    this.#options.onError?.(error)
  }

  #log(message: string): void {
    this.#options.logger?.(`latchkey: ${message}`)
  }
}

type Form = Readonly<Record<string, string | readonly string[] | undefined>>

function demandForm({ acrValues, maxAge }: Demand): Form {
  return { acr_values: acrValues?.length ? acrValues.join(' ') : undefined, max_age: maxAge === undefined ? undefined : String(Math.trunc(maxAge)) }
}

function exchangeForm(clientToken: string, options: StepUpOptions | PendingStepUp): Form {
  return {
    grant_type: GRANT_EXCHANGE,
    subject_token_type: options.subjectTokenType ?? TOKEN_TYPE_JWT,
    subject_token: clientToken,
    ...demandForm(options),
  }
}

/** Returns the form of a token for a target, as the key of that token. Values that are undefined are not in it. */
function targetKey({ audience, ...demand }: GetTokenOptions): string {
  return JSON.stringify({ audience: audience === undefined ? undefined : [audience].flat().sort(), ...demandForm(demand) })
}

/** Returns the end of a client token, to recognize a repeated call. */
function proofOf(clientToken: string): string {
  return clientToken.slice(-24)
}

function codeOf(error: unknown): string {
  return error instanceof LatchkeyError ? error.code : 'error'
}

function bearer(token: string): { authorization: string } {
  return { authorization: `Bearer ${token}` }
}

function authorized(request: Request, token: string): Request {
  request.headers.set('authorization', bearer(token).authorization)
  return request
}

/** Sets an entry of a map that drops its oldest. */
function keep<V>(map: Map<string, V>, key: string, value: V): void {
  map.delete(key)
  map.set(key, value)
  const [oldest] = map.keys()
  if (map.size > MAX_TARGETS && oldest !== undefined) map.delete(oldest)
}

function isCount(value: unknown): value is number {
  return Number.isFinite(value) && (value as number) > 0
}

function defaultStorage({ issuer, clientId }: ClientOptions): Storage | undefined {
  // A page keeps its session in memory if its browser has no IndexedDB; a server must not share one.
  return typeof indexedDB === 'undefined' && typeof document === 'undefined' ? undefined : indexedDBStorage({ key: `${issuer} ${clientId}` })
}
