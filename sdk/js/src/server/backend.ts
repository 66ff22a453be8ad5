import { Endpoint, type Fetch } from '../endpoint.js'
import { LatchkeyError } from '../error.js'
import { withRetry } from '../retry.js'
import { basic } from './issuer.js'

/** Options of {@link createBackend}. */
export interface BackendOptions {
  /** The issuer, as in the `iss` of its tokens. */
  issuer: string
  /** A secret client. `sessions` needs `manage_sessions: true`. */
  clientId: string
  clientSecret: string
  /** How long one call repeats a request that gets no response, in milliseconds. Default: 10 000. */
  retryWindow?: number
  /** Default: the global `fetch`. */
  fetch?: Fetch
}

/** A session, as the session API describes it: see docs/sessions.md. Times are in Unix seconds. */
export interface SessionDetails {
  id: string
  sub: string
  client_id: string
  status: 'active' | 'ended'
  created_at: number
  auth_time: number | null
  last_active_at: number
  expires_at: number
  idle_expires_at: number | null
  ended_at: number | null
  end_reason: string | null
  acr: string | null
  acr_times: Record<string, number>
  amr: string[]
  factors: { amr: string; issuer: string; auth_time: number }[]
  device: { name?: string; user_agent?: string; ip?: string } | null
  scope: string
  attributes: Record<string, unknown>
  /** Only for sessions of the caller's own client. */
  claims?: Record<string, unknown>
}

/** An answer of introspection (RFC 7662). */
export interface Introspection {
  active: boolean
  [claim: string]: unknown
}

/** The calls of a back end. Never use it in a browser: it holds a secret. */
export interface Backend {
  readonly sessions: {
    /** Returns the user's live sessions at every client. */
    list(user: string): Promise<SessionDetails[]>
    /** Returns a session, also for a day after its end. It throws `not_found` if there is no such session. */
    get(id: string): Promise<SessionDetails>
    /** Ends a session. */
    revoke(id: string): Promise<void>
    /** Ends every session of the user. It does not prevent the user from signing in again. */
    revokeAll(user: string): Promise<void>
    /** Moves the absolute end of a session to this many seconds from now. */
    extend(id: string, seconds: number): Promise<SessionDetails>
  }
  /** Returns whether a token is active, and its claims (RFC 7662). */
  introspect(token: string): Promise<Introspection>
}

/** Returns the calls of a back end. Requests that get no response are repeated: all of them are idempotent. */
export function createBackend({ issuer, clientId, clientSecret, retryWindow = 10_000, fetch: fetchWith }: BackendOptions): Backend {
  if (!clientId || !clientSecret) throw new LatchkeyError('invalid_option', 'createBackend: clientId and clientSecret are required')
  const endpoint = new Endpoint(issuer, fetchWith ?? ((input, init) => fetch(input, init)), retryWindow / 3)
  const authorization = basic(clientId, clientSecret)
  const send = (method: string, path: string, form?: Record<string, string>) =>
    withRetry(retryWindow, () =>
      endpoint.send(path, { method, headers: { authorization }, ...(form && { body: new URLSearchParams(form) }) }),
    )
  const one = (id: string) => `/sessions/${encodeURIComponent(id)}`
  return {
    sessions: {
      async list(user) {
        const list: SessionDetails[] = []
        for (let cursor: string | null | undefined = ''; cursor !== null && cursor !== undefined; ) {
          const query: string = new URLSearchParams([['sub', user], ['limit', '200'], ...(cursor ? [['cursor', cursor]] : [])]).toString()
          const page = (await send('GET', `/sessions?${query}`)) as { items: SessionDetails[]; next_cursor?: string | null }
          list.push(...page.items)
          cursor = page.next_cursor
        }
        return list
      },
      get: (id) => send('GET', one(id)) as Promise<SessionDetails>,
      async revoke(id) {
        await send('DELETE', one(id))
      },
      async revokeAll(user) {
        await send('DELETE', `/sessions?sub=${encodeURIComponent(user)}`)
      },
      extend: (id, seconds) => send('POST', `${one(id)}/extend`, { expires_in: String(Math.trunc(seconds)) }) as Promise<SessionDetails>,
    },
    introspect: (token) => send('POST', '/introspect', { token }) as Promise<Introspection>,
  }
}
