import { LatchkeyError } from '../error.js'
import { emptyState, parse, serialize, type State, type Tokens } from '../state.js'
import type { Storage } from '../storage.js'
import type { CookieJar } from './cookie_jar.js'
import { Sealer } from './sealer.js'

/** Options of {@link cookieStorage}. */
export interface CookieStorageOptions {
  /** The cookies of the request and its response: see {@link requestCookies}. */
  cookies: CookieJar
  /**
   * Each key is 32 random bytes in base64, as `openssl rand -base64 32` prints them. The first key encrypts;
   * the others decrypt cookies from before a change of keys.
   */
  keys: string | readonly string[]
  /** Must begin with `__Host-`, so that only this host can set the cookie. Default: `__Host-session`. */
  name?: string
  /**
   * For development on http://localhost, where not every browser keeps cookies that are `Secure` or begin
   * with `__Host-`: the cookies are neither. Use it on no other host.
   */
  loopback?: boolean
}

/** Browsers accept 4096 bytes for a cookie, including its name and attributes. */
const MAX_VALUE = 3800
/** Servers commonly accept 16 KiB for all headers of a request. */
const MAX_CHUNKS = 3
/** How many sessions that are over, and how many sign-outs that the server has not confirmed, a cookie remembers. */
const [MAX_TOMBSTONES, MAX_REVOCATIONS] = [3, 2]

/**
 * Returns a storage in the cookies of one request, encrypted, for a server that renders pages. Make a storage
 * and a client for each request.
 *
 * Two cookies are used. One has the session. The other, with the suffix `.end`, remembers sessions that are
 * over: a response that was under way when the user signed out cannot bring the session back, because its
 * cookie names a session that is over. Signing out deletes the first cookie. If the server has ended the
 * session, the cookie stays and is ignored: deleting it could delete the cookie of a sign-in in the meantime.
 *
 * A copied cookie can be used until the session ends at the server.
 */
export function cookieStorage(options: CookieStorageOptions): Storage {
  return new CookieStorage(options.cookies, new Sealer(options.keys), cookieName(options.name, options.loopback), !options.loopback)
}

/** Returns the name of the cookie, which no other host can set. */
export function cookieName(name = '__Host-session', loopback = false): string {
  const match = /^__Host-([A-Za-z0-9_-]{1,50})$/.exec(name)
  if (!match) throw new LatchkeyError('invalid_option', `invalid cookie name ${JSON.stringify(name)}: expected __Host- and 1 to 50 letters, digits, _ or -`)
  return loopback ? (match[1] as string) : name
}

/** Reports whether a cookie belongs to the session, and not to the sessions that are over. */
export function isSessionCookie(name: string, cookie: string): boolean {
  return cookie === name || (cookie.startsWith(`${name}.`) && cookie !== `${name}.end`)
}

/** What the cookies have, before a session that is over was left out. */
interface Content {
  raw: string
  session: Tokens | null
  state: State
}

/** The implementation of {@link cookieStorage}. */
export class CookieStorage implements Storage {
  readonly ofRequest = true
  readonly #cookies: CookieJar
  readonly #sealer: Sealer
  readonly #name: string
  readonly #secure: boolean

  constructor(cookies: CookieJar, sealer: Sealer, name: string, secure: boolean) {
    this.#cookies = cookies
    this.#sealer = sealer
    this.#name = name
    this.#secure = secure
  }

  async load(): Promise<string | null> {
    const { state } = await this.#read()
    return state === emptyState ? null : serialize(state)
  }

  /** Returns what `load` returns, parsed. */
  async state(): Promise<State> {
    return (await this.#read()).state
  }

  async commit(previous: string | null, next: string | null): Promise<boolean> {
    const { raw, session, state } = await this.#read()
    if ((state === emptyState ? null : serialize(state)) !== previous) return false
    const to = parse(next)
    const ended = to.session === null && to.tombstones.some(({ id, reason }) => id === session?.id && reason !== undefined)
    const [sealed, notes] = await Promise.all([to.session && this.#sealSession(to.session), this.#sealNotes(to)])
    if (this.#raw() !== raw) return false
    if (JSON.stringify(to.session) !== JSON.stringify(session) && !ended) this.#setSession(sealed ?? '', to.session?.expiresAt ?? 0)
    const before = { ...trimmed(state), session: null }
    if (serialize({ ...trimmed(to), session: null }) !== serialize(before)) {
      this.#set(`${this.#name}.end`, notes, Math.max(0, ...to.tombstones.map(({ until }) => until)) / 1000)
    }
    return true
  }

  /** Returns the values of all cookies, to notice that another caller has set one. */
  #raw(): string {
    return [this.#joined() ?? '', this.#cookies.get(`${this.#name}.end`) ?? ''].join(' ')
  }

  async #read(): Promise<Content> {
    const [joined, end] = [this.#joined(), this.#cookies.get(`${this.#name}.end`)]
    const raw = [joined ?? '', end ?? ''].join(' ')
    const open = async (value: string | undefined, purpose: string) => parse((value && (await this.#sealer.open(value, purpose))) ?? null)
    const [{ session }, notes] = await Promise.all([open(joined, this.#name), open(end, `${this.#name}.end`)])
    const isOver = notes.tombstones.some(({ id }) => id === session?.id)
    const state = session === null && notes === emptyState ? emptyState : { ...notes, session: isOver ? null : session }
    return { raw, session, state }
  }

  /** Returns the value of the session's cookies. The first begins with their number. */
  #joined(): string | undefined {
    const [, count, first = ''] = /^([1-9])~(.*)$/.exec(this.#cookies.get(this.#name) ?? '') ?? []
    if (!count || Number(count) > MAX_CHUNKS) return undefined
    const chunks = [first]
    for (let i = 1; i < Number(count); i++) chunks.push(this.#cookies.get(`${this.#name}.${i}`) ?? '')
    return chunks.join('')
  }

  /** Encrypts a session. A pending step-up whose client token does not fit is left out. */
  async #sealSession(session: Tokens): Promise<string> {
    const seal = (s: Tokens) => this.#sealer.seal(serialize({ ...emptyState, session: s }), this.#name)
    let sealed = await seal(session)
    if (sealed.length > MAX_VALUE * MAX_CHUNKS) sealed = await seal({ ...session, pending: undefined })
    if (sealed.length <= MAX_VALUE * MAX_CHUNKS) return sealed
    throw new LatchkeyError('session_too_large', `the session needs ${sealed.length} bytes, and cookies hold ${MAX_VALUE * MAX_CHUNKS}: put fewer claims into access tokens`)
  }

  #sealNotes(state: State): Promise<string> {
    return this.#sealer.seal(serialize({ ...trimmed(state), session: null }), `${this.#name}.end`)
  }

  #setSession(sealed: string, expiresAt: number): void {
    const chunks = sealed.match(new RegExp(`.{1,${MAX_VALUE}}`, 'g')) ?? []
    for (let i = 0; i < MAX_CHUNKS; i++) {
      const name = i === 0 ? this.#name : `${this.#name}.${i}`
      const chunk = chunks[i]
      if (chunk !== undefined) this.#set(name, i === 0 ? `${chunks.length}~${chunk}` : chunk, expiresAt)
      else if (this.#cookies.get(name) !== undefined) this.#set(name, '', 0)
    }
  }

  /** Sets a cookie until a moment in Unix seconds; 0 deletes it. */
  #set(name: string, value: string, until: number): void {
    const maxAge = until === 0 ? 0 : Math.max(1, Math.floor(until - Date.now() / 1000))
    this.#cookies.set(name, value, { path: '/', httpOnly: true, secure: this.#secure, sameSite: 'lax', maxAge })
  }
}

/** Returns what fits into a cookie. A sign-out without its access token still has the token that ends the session. */
function trimmed({ session, tombstones, revocations }: State): State {
  return {
    session,
    tombstones: tombstones.slice(0, MAX_TOMBSTONES),
    revocations: revocations.slice(-MAX_REVOCATIONS).map((r) => ({ ...r, accessToken: '' })),
  }
}
