import { Endpoint, isSecure, type Fetch } from './endpoint.js'
import { LatchkeyError, isRetryable, unavailable } from './error.js'
import { indexedDBStorage } from './indexeddb_storage.js'
import { findChallenge, parseChallenge } from './challenge.js'
import type { ClientOptions, Clock, CreateSessionOptions, GetTokenOptions, SignOutOptions, StepUpOptions } from './options.js'
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
const exchanges = new Map<string, Promise<Session>>()

class TokenClient implements Client {
  readonly ready: Promise<void>

  readonly #options: ClientOptions
  readonly #endpoint: Endpoint
  readonly #fetch: Fetch
  readonly #clock: Required<Clock>
  readonly #window: number
  readonly #vault: Vault
  readonly #listeners = new Set<(change: SessionChange) => void>()
  readonly #targets = new Map<string, Access>()
  readonly #flights = new Map<string, Promise<Access>>()
  readonly #stops: (() => void)[] = []
  readonly #random = Math.random()
  #session: Session | null | undefined
  /** Why the last session ended; undefined: it did not end. */
  #end: string | undefined
  /** When this page received its newest access tokens, by a clock that nobody can set. */
  readonly #received = new Map<string, number>()
  #tail: Promise<unknown> = Promise.resolve()
  #pendingTriedAt = 0
  #timer: ReturnType<typeof setTimeout> | undefined
  #failures = 0
  #disposed = false

  constructor(options: ClientOptions) {
    this.#options = options
    this.#window = options.retryWindow ?? 10_000
    this.#fetch = options.fetch ?? ((input, init) => fetch(input, init))
    this.#endpoint = new Endpoint(options.issuer, this.#fetch, this.#window / 3)
    if (!options.clientId || !(this.#window > 0)) throw new LatchkeyError('invalid_option', 'clientId is required, and retryWindow must be positive')
    const { clock } = options
    this.#clock = {
      now: () => (clock ? clock.now() : Date.now()),
      monotonic: () => clock?.monotonic?.() ?? (clock ? clock.now() : performance.now()),
    }
    const storage = options.storage ?? defaultStorage(options)
    this.#vault = new Vault(
      storage ?? missingStorage,
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
    if (this.#disposed) return
    const unsubscribe = storage.subscribe?.(() => void this.#vault.load())
    if (unsubscribe) this.#stops.push(unsubscribe)
    const look = () => this.#look()
    this.#listen(globalThis, ['online', 'pageshow', 'focus'], look)
    if (typeof document !== 'undefined') this.#listen(document, ['visibilitychange', 'resume'], look)
    look()
  }

  #listen(target: object, names: string[], listener: () => void): void {
    if (!('addEventListener' in target)) return
    for (const name of names) {
      ;(target as EventTarget).addEventListener(name, listener)
      this.#stops.push(() => (target as EventTarget).removeEventListener(name, listener))
    }
  }

  async createSession(clientToken: string, options: CreateSessionOptions = {}): Promise<Session> {
    await this.#begin()
    const proof = clientToken.slice(-24)
    const key = [this.#options.issuer, this.#options.clientId, clientToken].join(' ')
    const started = exchanges.get(key)
    if (started) {
      await started
      return this.#current((await this.#vault.load()).session)
    }
    const exchange = this.#exchange(clientToken, proof, options).finally(() => exchanges.delete(key))
    exchanges.set(key, exchange)
    return exchange
  }

  async #exchange(clientToken: string, proof: string, options: CreateSessionOptions): Promise<Session> {
    const { session } = await this.#vault.load()
    if (session?.proof === proof) return describe(session)
    try {
      const tokens = await withRetry(this.#window, () =>
        this.#request({
          ...exchangeForm(clientToken, options),
          scope: options.scope,
          audience: options.audience,
          latchkey_device_name: options.deviceName,
        }),
      )
      this.#end = undefined
      const state = await this.#vault.apply(signedIn({ ...tokens, proof }, this.#clock.now()))
      void this.#revoke(state)
      return this.#current(state.session)
    } catch (error) {
      // Another tab may have exchanged the same token a moment ago.
      const other = (await this.#vault.load()).session
      if (other?.proof === proof) return describe(other)
      throw error
    }
  }

  async getToken(options: GetTokenOptions = {}): Promise<string> {
    await this.#begin()
    const form = targetForm(options)
    const key = form ? JSON.stringify(form) : ''
    const { session } = await this.#vault.load()
    this.#current(session)
    const access = key === '' ? session : this.#targets.get(key)
    const due = session?.pending !== undefined && this.#clock.now() - this.#pendingTriedAt >= PENDING_PAUSE
    if (access && !due && this.#isFresh(access)) return access.accessToken
    try {
      return (await this.#refresh(key, form, access?.accessToken)).accessToken
    } catch (error) {
      if (access && isRetryable(error) && this.#session && this.#age(access) < access.expiresIn) return access.accessToken
      throw error
    }
  }

  async refreshSession(): Promise<Session> {
    await this.#begin()
    this.#current((await this.#vault.load()).session)
    await this.#refresh('', undefined, this.#vault.state.session?.accessToken)
    this.#targets.clear()
    return this.#current(this.#vault.state.session)
  }

  async stepUp(clientToken: string, options: StepUpOptions = {}): Promise<Session> {
    await this.#begin()
    const { subjectTokenType, acrValues, maxAge } = options
    const pending: PendingStepUp = { clientToken, subjectTokenType, acrValues, maxAge }
    await this.#share('step-up ' + clientToken, async () => {
      let { session } = await this.#vault.load()
      this.#current(session)
      if (session?.proof === clientToken.slice(-24)) return session
      if (session?.pending && session.pending.clientToken !== clientToken) {
        // The caller did not ask for this step-up: it gets no refusal of it, but must wait while its outcome is unknown.
        session = await withRetry(this.#window, () => this.#resolveStepUp()).catch((error: unknown) => {
          if (isRetryable(error)) throw error
          return this.#vault.state.session
        })
      }
      this.#current(session)
      if (session && !session.pending) await this.#vault.apply(stepUpSent(session.id, pending))
      return withRetry(this.#window, () => this.#resolveStepUp())
    })
    return this.#current(this.#vault.state.session)
  }

  async signOut({ scope = 'current' }: SignOutOptions = {}): Promise<void> {
    await this.#begin()
    if (scope === 'others') {
      await this.#call('DELETE', '/sessions?scope=others')
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
      const page = (await this.#call('GET', `/sessions?limit=200${cursor}`)) as { items?: Record<string, unknown>[]; next_cursor?: string | null }
      list.push(...(page.items ?? []).map(sessionInfo))
      if (!page.next_cursor) return list
      cursor = `&cursor=${encodeURIComponent(page.next_cursor)}`
    }
  }

  async revokeSession(id: string): Promise<void> {
    await this.#begin()
    if (id === this.#vault.state.session?.id) return this.signOut()
    await this.#call('DELETE', `/sessions/${encodeURIComponent(id)}`)
  }

  onSessionChange(listener: (change: SessionChange) => void): () => void {
    // A function of its own, so that one listener can be added twice.
    const own = (change: SessionChange) => listener(change)
    this.#listeners.add(own)
    return () => this.#listeners.delete(own)
  }

  async fetch(input: string | URL | Request, init: FetchInit = {}): Promise<Response> {
    const { audience, ...rest } = init
    const options: GetTokenOptions = audience === undefined ? {} : { audience }
    const request = new Request(input, rest)
    if (!isSecure(new URL(request.url))) throw new LatchkeyError('invalid_option', 'an access token is sent over https only, or over http to loopback')
    const again = rest.body instanceof ReadableStream ? undefined : request.clone()
    const token = await this.getToken(options)
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
    const next = demand ? await this.getToken(audience === undefined ? {} : { audience, ...demand }) : await this.#replace(options, token)
    return this.#fetch(authorized(again, next))
  }

  dispose(): void {
    this.#disposed = true
    clearTimeout(this.#timer)
    for (const stop of this.#stops.splice(0)) stop()
    this.#listeners.clear()
  }

  /** Waits for the storage, and rejects calls of a client that was disposed of. */
  async #begin(): Promise<void> {
    if (this.#disposed) throw new LatchkeyError('disposed', 'the client was disposed of')
    await this.ready
  }

  /** Returns the session. It throws `not_signed_in` or `session_ended` if nobody is signed in. */
  #current(tokens: Tokens | null): Session {
    if (tokens) return describe(tokens)
    if (this.#end === undefined) throw new LatchkeyError('not_signed_in', 'nobody is signed in')
    throw new LatchkeyError('session_ended', `the session has ended (${this.#end})`, { endReason: this.#end })
  }

  /** Returns another token than one that was rejected. */
  async #replace(options: GetTokenOptions, rejected: string): Promise<string> {
    const form = targetForm(options)
    const key = form ? JSON.stringify(form) : ''
    const access = key === '' ? (await this.#vault.load()).session : this.#targets.get(key)
    if (access && access.accessToken !== rejected && this.#isFresh(access)) return access.accessToken
    return (await this.#refresh(key, form, rejected)).accessToken
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
      flight = this.#tail.then(run).finally(() => this.#flights.delete(key))
      this.#flights.set(key, flight)
      this.#tail = flight.catch(() => undefined)
    }
    return flight
  }

  /** Returns another token than `had` for a target. */
  #refresh(key: string, form: Form | undefined, had: string | undefined): Promise<Access> {
    return this.#share(key, () => withRetry(this.#window, () => this.#refreshOnce(key, form, had)))
  }

  async #refreshOnce(key: string, form: Form | undefined, had: string | undefined, tries = 3): Promise<Access> {
    let { session } = await this.#vault.load()
    this.#current(session)
    if (session?.pending) session = await this.#resolveStepUp()
    if (!session) return this.#current(session) as never
    if (key === '' && session.accessToken !== had && this.#isFresh(session)) return session
    const sent = session
    const again = () => this.#refreshOnce(key, form, had, tries - 1)
    let answer: Tokens
    try {
      answer = await this.#request({ grant_type: 'refresh_token', refresh_token: sent.refreshToken, ...form }, sent.id)
    } catch (error) {
      return (await this.#refused(error, sent)) && tries > 0 ? again() : Promise.reject(error)
    }
    if (key !== '') keep(this.#targets, key, answer)
    // A step-up has used the refresh token: the answer is for the time before it, and is not stored.
    if (answer.refreshToken === undefined && sent.refreshToken !== undefined) return answer
    const { accessToken, expiresIn, receivedAt, scope } = key === '' ? answer : sent
    const state = await this.#vault.apply(refreshed({ ...sent, ...answer, accessToken, expiresIn, receivedAt, scope }))
    if (state.session?.id !== sent.id) {
      this.#targets.clear()
      // Somebody has signed out, or in as another user, in the meantime.
      return state.session && tries > 0 ? again() : (this.#current(state.session) as never)
    }
    return key === '' && this.#isFresh(state.session) ? state.session : answer
  }

  /**
   * Does what a refusal of a request with the session's refresh token means. It reports whether the
   * storage holds another token, which is worth an attempt.
   */
  async #refused(error: unknown, sent: Tokens): Promise<boolean> {
    const verdict = judge(error)
    if (verdict !== 'end' && verdict !== 'reload') return false
    const { endReason, reason, code } = error as LatchkeyError
    const why = endReason ?? reason ?? code
    const state = await (verdict === 'end' ? this.#vault.apply(ended(sent.id, longestLived(sent), why, this.#clock.now())) : this.#vault.load())
    if (state.session && longestLived(state.session) !== longestLived(sent)) return true
    if (!state.session) this.#current(state.session)
    throw new LatchkeyError('superseded', 'another tab or process has newer tokens', { retryable: reason !== 'chain_mismatch', reason, cause: error })
  }

  /** Sends the step-up that is pending, and returns the tokens from then on. */
  async #resolveStepUp(tries = 3): Promise<Tokens> {
    const { session } = await this.#vault.load()
    this.#current(session)
    const sent = session as Tokens
    const { pending } = sent
    if (!pending) return sent
    const repeated = this.#pendingTriedAt !== 0 || tries < 3
    this.#pendingTriedAt = this.#clock.now()
    let change
    try {
      const answer = await this.#request({ ...exchangeForm(pending.clientToken, pending), latchkey_session_token: longestLived(sent) }, sent.id)
      this.#targets.clear()
      change = steppedUp({ ...sent, ...answer, proof: pending.clientToken.slice(-24) }, pending.clientToken)
    } catch (error) {
      if (!(error instanceof LatchkeyError) || error.retryable) throw error
      if (tries > 0) {
        if (await this.#refused(error, sent)) return this.#resolveStepUp(tries - 1)
        // The first request may have arrived only now, or another tab may have the answer.
        if (error.reason === 'subject_token_spent' && tries > 2) return this.#resolveStepUp(tries - 1)
      }
      if (repeated && /^(invalid_client|unauthorized_client)$/.test(error.code)) throw error // what became of the first request is unknown
      this.#pendingTriedAt = 0
      await this.#vault.apply(stepUpAnswered(sent.id, pending.clientToken))
      throw error
    }
    this.#pendingTriedAt = 0
    const state = await this.#vault.apply(change)
    this.#current(state.session)
    return state.session as Tokens
  }

  /** Sends a request to the token endpoint. A life counts from when the request was sent. */
  async #request(form: Form, id?: string): Promise<Tokens> {
    const [receivedAt, at] = [this.#clock.now(), this.#clock.monotonic()]
    const answer = ((await this.#endpoint.post('/token', { client_id: this.#options.clientId, ...form })) ?? {}) as Record<string, unknown>
    const text = (name: string) => (typeof answer[name] === 'string' && answer[name] !== '' ? answer[name] : undefined)
    const [sid, accessToken, expiresIn, expiresAt] = [text('session_id'), text('access_token'), answer['expires_in'], answer['session_expires_at']]
    const type = text('token_type')?.toLowerCase()
    if (!sid || !accessToken || !isCount(expiresIn) || expiresIn > MAX_EXPIRES_IN || !isCount(expiresAt) || type !== 'bearer' || (id ?? sid) !== sid) {
      throw unavailable('unexpected response from /token: a member is missing or invalid, or it is about another session')
    }
    keep(this.#received, accessToken, at)
    const generation = answer['latchkey_generation']
    const tokens = { id: sid, generation: isCount(generation) ? generation : 0, expiresAt, scope: text('scope') ?? '', accessToken, expiresIn, receivedAt }
    const [refreshToken, sessionToken] = [text('refresh_token'), text('session_token')]
    return { ...tokens, ...(refreshToken && { refreshToken }), ...(sessionToken && { sessionToken }) }
  }

  /** Sends a request to the session API, and once more with another token if the first was rejected. */
  async #call(method: string, path: string): Promise<unknown> {
    const token = await this.getToken()
    const send = (by: string) => withRetry(this.#window, () => this.#endpoint.send(path, { method, headers: { authorization: `Bearer ${by}` } }))
    try {
      return await send(token)
    } catch (error) {
      if (!(error instanceof LatchkeyError) || error.code !== 'invalid_token') throw error
      return send(await this.#replace({}, token))
    }
  }

  /** Tells the server of every sign-out that it has not confirmed. A failure is left for later. */
  async #revoke(state: State): Promise<void> {
    for (const revocation of state.revocations) {
      try {
        await this.#revokeOne(revocation)
      } catch (error) {
        if (isRetryable(error)) continue
        this.#log(`sign-out refused: ${error instanceof LatchkeyError ? error.code : 'error'}`)
      }
      await this.#vault.apply(revoked(revocation.id))
    }
  }

  async #revokeOne({ token, accessToken, scope }: Revocation): Promise<unknown> {
    const client_id = this.#options.clientId
    const endAll = (by: string) => this.#endpoint.send('/sessions?scope=all', { method: 'DELETE', headers: { authorization: `Bearer ${by}` }, keepalive: true })
    if (scope === 'all') {
      try {
        return await endAll(accessToken)
      } catch (error) {
        if (isRetryable(error)) throw error
        // The access token has expired: the refresh token yields another one.
      }
      const { accessToken: next } = await this.#request({ grant_type: 'refresh_token', refresh_token: token })
      return endAll(next)
    }
    return this.#endpoint.post('/revoke', { client_id, token }, { keepalive: true })
  }

  /** Looks at the session: the clock may have moved, and other tabs may have changed it. */
  #look(): void {
    void this.#lookNow().then(
      () => (this.#failures = 0),
      (error: unknown) => {
        this.#failures++
        this.#log(`in the background: ${error instanceof LatchkeyError ? error.code : 'error'}`)
      },
    ).finally(() => this.#schedule())
  }

  async #lookNow(): Promise<void> {
    const state = await this.#vault.load()
    if (state.revocations.length) await this.#revoke(state)
    const { session } = state
    if (!session || this.#disposed || this.#options.autoRefresh === false || !isVisible()) return
    if (session.pending ?? !this.#isFresh(session)) await this.#refresh('', undefined, session.accessToken)
  }

  /** Looks again when the access token is due. The timer may fire late: the clock decides. */
  #schedule(): void {
    clearTimeout(this.#timer)
    const { session, revocations } = this.#vault.state
    if (this.#disposed || (!session && !revocations.length) || this.#options.autoRefresh === false || !isVisible()) return
    const due = session ? session.expiresIn - lead(session.expiresIn, this.#random) - this.#age(session) : 0
    const pause = this.#failures || !session ? FAILURE_PAUSE * 2 ** Math.min(this.#failures, 4) : Math.max(due * 1000, 500)
    this.#timer = setTimeout(() => this.#look(), Math.min(pause, 2 ** 31 - 1))
    ;(this.#timer as { unref?: () => void }).unref?.() // of Node: the timer keeps no process alive
  }

  #changed(before: State, after: State): void {
    const first = this.#session === undefined
    const what = difference(before, after)
    // The same object until something changes, so that user interfaces can compare it.
    if (what ?? first) this.#session = after.session && describe(after.session)
    if (!what) return
    if (what.event === 'ended') this.#end = what.reason
    if (what.event === 'signed-out' || what.event === 'signed-in') this.#end = undefined
    if (!after.session || after.session.id !== before.session?.id) this.#targets.clear()
    if (first) return
    this.#log(`session ${what.event}`)
    if (!this.#timer || before.session?.id !== after.session?.id) this.#schedule()
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

/** Returns the form of a token for a target, or undefined for the session's own token. */
function targetForm({ audience, ...demand }: GetTokenOptions): Form | undefined {
  const form: Form = { audience: audience === undefined ? undefined : [audience].flat().sort(), ...demandForm(demand) }
  return Object.values(form).some((value) => value !== undefined) ? form : undefined
}

function authorized(request: Request, token: string): Request {
  const headers = new Headers(request.headers)
  headers.set('authorization', `Bearer ${token}`)
  return new Request(request, { headers })
}

/** Sets an entry of a map that drops its oldest. */
function keep<V>(map: Map<string, V>, key: string, value: V): void {
  map.delete(key)
  map.set(key, value)
  const [oldest] = map.keys()
  if (map.size > MAX_TARGETS && oldest !== undefined) map.delete(oldest)
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && value > 0 && Number.isFinite(value)
}

function isVisible(): boolean {
  return typeof document === 'undefined' || document.visibilityState === 'visible'
}

function defaultStorage({ issuer, clientId }: ClientOptions): Storage | undefined {
  // A page keeps its session in memory if its browser has no IndexedDB; a server must not share one.
  return typeof indexedDB === 'undefined' && typeof document === 'undefined' ? undefined : indexedDBStorage({ key: `${issuer} ${clientId}` })
}

const missingStorage: Storage = {
  load: () => Promise.reject(new Error('no storage')),
  commit: () => Promise.reject(new Error('no storage')),
}
