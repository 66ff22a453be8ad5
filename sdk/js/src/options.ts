import type { Fetch } from './endpoint.js'
import type { LatchkeyError } from './error.js'
import type { Demand } from './state.js'
import type { Storage } from './storage.js'

/** A clock, for tests. Times are in milliseconds. */
export interface Clock {
  now(): number
  /** A clock that nobody can set. Default: `performance.now`, or none if only `now` is given. */
  monotonic?(): number
}

/** Options of {@link createClient}. */
export interface ClientOptions {
  /** The issuer, as in the `iss` of its tokens. */
  issuer: string
  /** The id of the public client. */
  clientId: string
  /** Default in browsers: {@link indexedDBStorage}. Elsewhere it is required. */
  storage?: Storage
  /** Default: the global `fetch`. */
  fetch?: Fetch
  clock?: Clock
  /**
   * Refreshes the access token before it expires while the page is visible. Default: true. If false,
   * only a call that needs a token refreshes it.
   */
  autoRefresh?: boolean
  /**
   * How long one call repeats a request that gets no response, in milliseconds; each attempt may take a
   * third of it. A later call sends the same request again. Default: 10 000.
   */
  retryWindow?: number
  /**
   * Authenticates the user as a resource server requires, and returns the client token, or undefined if
   * the user declines. `fetch` calls it for a challenge of RFC 9470.
   */
  onChallenge?: (demand: Demand) => Promise<string | undefined>
  /** Receives errors of work in the background, such as `storage_unavailable`. */
  onError?: (error: LatchkeyError) => void
  /** Receives a line for each request and each change, without tokens. */
  logger?: (message: string) => void
}

/** Options of `createSession`. */
export interface CreateSessionOptions extends Demand {
  /** Default: `urn:ietf:params:oauth:token-type:jwt`. */
  subjectTokenType?: string
  /** Scopes, separated by spaces. Default: the client's default scopes. */
  scope?: string
  /** The intended recipients of the access tokens. Default: the client itself. */
  audience?: string | readonly string[]
  /** Shown in the user's list of devices. */
  deviceName?: string
}

/** Options of `getToken`. */
export interface GetTokenOptions extends Demand {
  /** Requests a token for these recipients only. Default: everything that the session was granted. */
  audience?: string | readonly string[] | undefined
}

/** Options of `stepUp`. */
export interface StepUpOptions extends Demand {
  /** Default: `urn:ietf:params:oauth:token-type:jwt`. */
  subjectTokenType?: string
}

/** Options of `signOut`. */
export interface SignOutOptions {
  /**
   * `current` (default): this session. `others`: every session of the user but this one. `all`: every
   * session of the user.
   */
  scope?: 'current' | 'others' | 'all'
}
