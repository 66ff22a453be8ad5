import { cookies, headers } from 'next/headers.js'
import { numberClaim, unverifiedClaims } from '../claims.js'
import { LatchkeyError, unavailable } from '../error.js'
import type { CreateSessionOptions, GetTokenOptions, SignOutOptions, StepUpOptions } from '../options.js'
import type { AccessToken } from '../server/access_token.js'
import { only, parseCookies, type CookieAttributes, type CookieJar } from '../server/cookie_jar.js'
import { combine, lacksAuthentication, lacksScope, type Requirement } from '../server/requirement.js'
import { describe, type Session, type SessionInfo } from '../session.js'
import type { Demand, State } from '../state.js'
import type { App, Opened } from './app.js'
import { endReason } from './handlers.js'

/** Who is signed in, as {@link Next.auth} returns it. */
export type Auth = SignedIn | SignedOut

/** A request whose access token was verified. */
export interface SignedIn {
  readonly session: Session
  /** The verified access token. */
  readonly token: AccessToken
  /** Undefined: all requirements are met. Otherwise step up with this demand, or show that a scope is missing. */
  readonly unmet: Demand | undefined
  readonly endReason?: undefined
  /**
   * Returns a valid access token. With options it may store tokens, so it works in server actions and route
   * handlers only; in server components it throws `read_only`.
   */
  getToken(options?: GetTokenOptions): Promise<string>
}

/** A request without a session. */
export interface SignedOut {
  readonly session: null
  readonly token?: undefined
  readonly unmet?: undefined
  /** Why the server ended the last session, such as `revoked_by_user`. Undefined: the user signed out, or never signed in. */
  readonly endReason: string | undefined
  /** Throws `not_signed_in`. */
  getToken(options?: GetTokenOptions): Promise<never>
}

/** The cookies of `next/headers`. In a server component `set` throws. */
class NextCookies implements CookieJar {
  readonly #store: Awaited<ReturnType<typeof cookies>>
  readonly #given: ReturnType<typeof parseCookies>

  constructor(store: Awaited<ReturnType<typeof cookies>>, given: string) {
    this.#store = store
    this.#given = parseCookies(given)
  }

  get(name: string): string | undefined {
    // The store keeps the last one of several cookies.
    if (this.#given.filter(([other]) => other === name).length > 1) return only(this.#given, name)
    return this.#store.get(name)?.value || undefined
  }

  set(name: string, value: string, attributes: CookieAttributes): void {
    this.#store.set(name, value, attributes)
  }

  /** Reports whether the response can have no cookies. It sets a cookie that the request does not have, and deletes it. */
  isReadOnly(name: string): boolean {
    try {
      this.#store.set(name, '', { path: '/', httpOnly: true, secure: name.startsWith('__Host-'), sameSite: 'lax', maxAge: 0 })
      return false
    } catch {
      return true
    }
  }
}

/** Opens the session of the request that is rendered or handled. */
async function open(app: App): Promise<Opened> {
  const [store, list] = await Promise.all([cookies(), headers()])
  const jar = new NextCookies(store, list.get('cookie') ?? '')
  return app.open(jar, list, () => jar.isReadOnly(`${app.cookie}.probe`))
}

/** Runs a call with the session of the request, and stores what it changed. */
async function withSession<T>(app: App, run: (opened: Opened) => Promise<T>): Promise<T> {
  const opened = await open(app)
  try {
    return await run(opened)
  } finally {
    await opened.close()
  }
}

/** Verifies the session of the request. See {@link Next.auth}. */
export async function auth(app: App, requirements: readonly Requirement[]): Promise<Auth> {
  const need = combine(requirements)
  const [store, list] = await Promise.all([cookies(), headers()])
  app.checkHost(list)
  const state = await app.state(new NextCookies(store, list.get('cookie') ?? ''))
  if (!state.session) return signedOut(state)
  let tokens = state.session
  let token: AccessToken
  try {
    token = await app.verify(tokens)
  } catch (error) {
    if (!(error instanceof LatchkeyError) || error.code !== 'invalid_token') throw error
    // Only a token that has expired is worth a refresh here: the middleware replaces one that was revoked.
    if (!hasExpired(tokens.accessToken)) return signedOut(state)
    try {
      tokens = await withSession(app, async ({ client }) => {
        await client.getToken()
        return client.load()
      })
    } catch (failure) {
      if (failure instanceof LatchkeyError && ['not_signed_in', 'session_ended'].includes(failure.code)) return signedOut(state, failure.endReason)
      if (failure instanceof LatchkeyError && failure.code === 'read_only') {
        throw unavailable('the access token has expired: proxy.ts could not refresh it, or its matcher leaves out this path', { cause: failure })
      }
      throw failure
    }
    token = await app.verify(tokens)
  }
  const isUnmet = lacksScope(need, token) || lacksAuthentication(need, token, app.verifier.now(), app.verifier.clockTolerance * 1000)
  const { accessToken } = tokens
  return {
    session: describe(tokens),
    token,
    unmet: isUnmet ? { ...(need.acr && { acrValues: need.acr }), ...(need.maxAge !== undefined && { maxAge: need.maxAge }) } : undefined,
    getToken: (options) => (options === undefined ? Promise.resolve(accessToken) : withSession(app, ({ client }) => client.getToken(options))),
  }
}

function hasExpired(accessToken: string): boolean {
  const exp = numberClaim(unverifiedClaims(accessToken), 'exp')
  return Date.now() >= exp * 1000
}

function signedOut(state: State, reason = endReason(state)): SignedOut {
  return {
    session: null,
    endReason: reason,
    getToken: () => Promise.reject(new LatchkeyError('not_signed_in', 'nobody is signed in')),
  }
}

/** The calls of server actions and route handlers. */
export const actions = {
  signIn: (app: App, clientToken: string, options: Omit<CreateSessionOptions, 'audience' | 'scope'> = {}): Promise<Session> =>
    withSession(app, ({ client }) => client.createSession(clientToken, { ...options, ...app.grants })),
  stepUp: (app: App, clientToken: string, options?: StepUpOptions): Promise<Session> => withSession(app, ({ client }) => client.stepUp(clientToken, options)),
  signOut: (app: App, options?: SignOutOptions): Promise<void> => withSession(app, ({ client }) => client.signOut(options)),
  listSessions: (app: App): Promise<SessionInfo[]> => withSession(app, ({ client }) => client.listSessions()),
  revokeSession: (app: App, id: string): Promise<void> => withSession(app, ({ client }) => client.revokeSession(id)),
}
