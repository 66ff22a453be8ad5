/**
 * Keeps users signed in to a Next.js app (15 or 16), with the tokens in an encrypted cookie that no script of
 * the page can read.
 *
 * @packageDocumentation
 */
import type { CreateSessionOptions, SignOutOptions, StepUpOptions } from '../options.js'
import type { Requirement } from '../server/requirement.js'
import type { Session, SessionInfo } from '../session.js'
import { App } from './app.js'
import { actions, auth, type Auth } from './auth.js'
import { handle } from './handlers.js'
import type { NextOptions } from './options.js'
import { refreshBeforeRender, type Respond } from './proxy.js'

export type { Claims } from '../claims.js'
export { LatchkeyError, type LatchkeyErrorOptions } from '../error.js'
export type { Fetch } from '../endpoint.js'
export type { CreateSessionOptions, GetTokenOptions, SignOutOptions, StepUpOptions } from '../options.js'
export type { AccessToken } from '../server/access_token.js'
export { maxAge, requireAcr, requireScope, type Requirement, type Requirements } from '../server/requirement.js'
export type { RevocationMode } from '../server/verifier.js'
export type { Session, SessionInfo } from '../session.js'
export type { Demand } from '../state.js'
export type { Auth, SignedIn, SignedOut } from './auth.js'
export type { NextOptions, Upstream } from './options.js'
export { localPath } from './origin.js'
export type { Respond } from './proxy.js'

/** A route handler of Next.js. */
export type Handler = (request: Request) => Promise<Response>

/** The session of a Next.js app. Every function can be destructured. */
export interface Next {
  /**
   * Refreshes the session before a page is rendered. Export it from `proxy.ts` (Next.js 16) as `proxy`, or
   * from `middleware.ts` (Next.js 15) as `middleware`, for every path except static files.
   *
   * If you do more there, call it and make the response yourself:
   * `proxy(request, (headers) => NextResponse.rewrite(url, { request: { headers } }))`. Pass the headers on:
   * they have the fresh session.
   */
  readonly proxy: (request: Request, respond?: unknown) => Promise<Response>
  /**
   * Verifies the session of the request, in server components, server actions and route handlers. It does not
   * trust the middleware: the cookie must decrypt, and the access token must be valid and not revoked.
   *
   * It throws a retryable error if that cannot be found out. Then show an error, and not the sign-in page:
   * the user is still signed in.
   */
  readonly auth: (...requirements: Requirement[]) => Promise<Auth>
  /**
   * Exchanges a client token for a session, and sets its cookie. This and the following are for server actions
   * and route handlers; `listSessions` is for server components too.
   */
  readonly signIn: (clientToken: string, options?: Omit<CreateSessionOptions, 'audience' | 'scope'>) => Promise<Session>
  /** Adds another proof of the user to the session. */
  readonly stepUp: (clientToken: string, options?: StepUpOptions) => Promise<Session>
  /** Signs out: here immediately, and at the server as soon as it responds. */
  readonly signOut: (options?: SignOutOptions) => Promise<void>
  /** Returns the user's live sessions at all apps, the newest first. */
  readonly listSessions: () => Promise<SessionInfo[]>
  /** Ends one of the user's sessions. */
  readonly revokeSession: (id: string) => Promise<void>
  /**
   * Route handlers for scripts of the app: the endpoints of the session under `basePath`, and the upstreams.
   * Export them from `app/auth/[...path]/route.ts` and `app/api/[...path]/route.ts`. Every request needs the
   * header `Latchkey-CSRF`.
   */
  readonly handlers: Readonly<Record<'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE', Handler>>
}

/** Returns the session of a Next.js app. Call it once, in a module of its own. */
export function createNext(options: NextOptions): Next {
  let made: App | undefined
  const app = () => (made ??= new App(options))
  const handler: Handler = async (request) => handle(app(), request)
  return {
    // Next.js passes an event as the second argument.
    proxy: async (request, respond) => refreshBeforeRender(app(), request, typeof respond === 'function' ? (respond as Respond) : undefined),
    auth: async (...requirements) => auth(app(), requirements),
    signIn: async (clientToken, more) => actions.signIn(app(), clientToken, more),
    stepUp: async (clientToken, more) => actions.stepUp(app(), clientToken, more),
    signOut: async (more) => actions.signOut(app(), more),
    listSessions: async () => actions.listSessions(app()),
    revokeSession: async (id) => actions.revokeSession(app(), id),
    handlers: { GET: handler, HEAD: handler, POST: handler, PUT: handler, PATCH: handler, DELETE: handler },
  }
}
