import type { Fetch } from '../endpoint.js'
import type { RevocationMode } from '../server/verifier.js'

/** An API that the handlers forward requests to. */
export interface Upstream {
  /** The base URL, with a slash at its end, such as `https://api.example.com/`. Not https: loopback only. */
  url: string
  /**
   * The recipient of the access tokens: the API itself, so that it cannot use them elsewhere. Default: the
   * session's own token, which is valid for everything that the session was granted.
   */
  audience?: string | readonly string[]
  /** Further request headers that may pass, such as `x-api-version`. */
  requestHeaders?: readonly string[]
  /** Further response headers that may pass. */
  responseHeaders?: readonly string[]
}

/** Options of {@link createNext}. Everything is checked when it is first used, because `next build` has no secrets. */
export interface NextOptions {
  /** The issuer, as in the `iss` of its tokens. */
  issuer: string
  /** The id of the app's client. */
  clientId: string
  /** The secret of the app's client, if it has one. */
  clientSecret?: string | undefined
  /**
   * Encrypt the session in the cookie. Each key is 32 random bytes in base64, as `openssl rand -base64 32`
   * prints them. The first key encrypts; the others decrypt cookies from before a change of keys.
   */
  cookieKeys: string | readonly string[] | undefined
  /** Must begin with `__Host-`. Default: `__Host-session`. */
  cookieName?: string
  /**
   * For development on http://localhost, where not every browser keeps cookies that are `Secure` or begin
   * with `__Host-`: the cookies are neither. Requests for other hosts have no session.
   */
  loopback?: boolean
  /** Scopes of new sessions, separated by spaces. Default: the client's default scopes. */
  scope?: string
  /** Recipients of the session's tokens besides the app and the `audience` of each upstream. */
  audience?: string | readonly string[]
  /** Where the handlers of the session are mounted, without the `basePath` of `next.config`. Default: `/auth`. */
  basePath?: string
  /**
   * Path prefixes, with a slash at both ends such as `/api/`, and the APIs that the handlers forward them to.
   * The longest prefix that matches is used. It is removed, and the rest of the path is appended to the URL.
   */
  upstreams?: Readonly<Record<string, Upstream>>
  /** Other origins whose pages may send requests to the handlers, such as `https://admin.example.com`. */
  trustedOrigins?: readonly string[]
  /**
   * How {@link Next.auth} learns that a session was ended elsewhere. Default: `feed` if there is a
   * `clientSecret` and the process lives long, otherwise `status-list`, which requires `status_list` for the
   * client. `feed` also requires that the client may introspect its tokens.
   */
  revocation?: RevocationMode
  /**
   * How long one request may wait for the issuer, in milliseconds. Default: 3000 before a page is rendered, and
   * 10 000 for other calls.
   */
  retryWindow?: number
  /** Default: the global `fetch`. */
  fetch?: Fetch
  /** Receives messages without tokens, such as a refresh that failed. Default: `console.warn`. */
  logger?: (message: string) => void
}
