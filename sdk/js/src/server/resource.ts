import { isSecure } from '../endpoint.js'
import { LatchkeyError } from '../error.js'
import type { AccessToken } from './access_token.js'
import { combine, isQuotable, isScopeToken, lacksAuthentication, lacksScope, type Requirement, type Requirements } from './requirement.js'
import type { Verifier } from './verifier.js'

/** Where a host publishes the metadata of its resources (RFC 9728 §3). */
const WELL_KNOWN = '/.well-known/oauth-protected-resource'

/** Options of {@link createResourceServer}. */
export interface ResourceServerOptions {
  verifier: Verifier
  /**
   * Identifies the resource: the URL that its clients call, https (or http on loopback), without a query or
   * a fragment. If it is set, challenges refer to the resource's metadata (RFC 9728).
   */
  url?: string
  /** The scopes that the metadata announces. */
  scopes?: readonly string[]
  /** The realm of the challenges. Default: `api`. */
  realm?: string
}

/** The result of a check: either the token, or the response to send. */
export type CheckResult = { readonly token: AccessToken; readonly response?: undefined } | { readonly token?: undefined; readonly response: Response }

/** The metadata of a protected resource: which authorization servers it trusts (RFC 9728 §2). */
export interface ProtectedResourceMetadata {
  resource: string
  authorization_servers: string[]
  scopes_supported?: string[]
  bearer_methods_supported: string[]
}

/** Protects the handlers of a resource server (RFC 6750, RFC 9470), in any framework that has web requests. */
export interface ResourceServer {
  /** The metadata of the resource. Undefined without `url`. */
  readonly metadata: ProtectedResourceMetadata | undefined
  /** The path at which to serve the metadata, at the root of the host. Undefined without `url`. */
  readonly metadataPath: string | undefined
  /**
   * Checks the access token of a request. Requests that are not let through get a response: 401 with a
   * challenge, 403 if a scope is missing, 400 if the Authorization header is malformed, and 503 if the token
   * could not be checked. Browsers send preflight requests without a token: answer those before.
   */
  check(headers: Headers, ...requirements: Requirement[]): Promise<CheckResult>
  /** Answers a request for the metadata, from any origin, or returns undefined for another path. */
  serveMetadata(request: Request): Response | undefined
}

/** Returns a resource server. It throws `invalid_option` if the URL, the realm or a scope is invalid. */
export function createResourceServer({ verifier, url, scopes = [], realm = 'api' }: ResourceServerOptions): ResourceServer {
  if (!isQuotable(realm)) throw invalidOption(`invalid realm ${JSON.stringify(realm)}: expected printable ASCII without quotes and backslashes`)
  for (const scope of scopes) if (!isScopeToken(scope)) throw invalidOption(`invalid scope ${JSON.stringify(scope)}`)
  const location = url === undefined ? undefined : metadataLocation(url)
  const common: Params = [['realm', realm], ...(location ? [['resource_metadata', location.href] as const] : [])]
  const metadata: ProtectedResourceMetadata | undefined =
    url === undefined
      ? undefined
      : {
          resource: url,
          authorization_servers: [verifier.issuer],
          ...(scopes.length > 0 && { scopes_supported: [...scopes] }),
          bearer_methods_supported: ['header'],
        }
  return {
    metadata,
    metadataPath: location?.pathname,
    async check(headers, ...requirements) {
      const result = await decide(verifier, headers, combine(requirements))
      return 'token' in result ? result : { response: respond(result, common) }
    },
    serveMetadata(request) {
      if (new URL(request.url).pathname !== location?.pathname) return undefined
      if (request.method !== 'GET' && request.method !== 'HEAD') return new Response(null, { status: 405, headers: { allow: 'GET, HEAD' } })
      const headers = { 'content-type': 'application/json', 'cache-control': 'public, max-age=3600', 'access-control-allow-origin': '*' }
      return new Response(request.method === 'HEAD' ? null : JSON.stringify(metadata), { headers })
    },
  }
}

type Params = readonly (readonly [name: string, value: string])[]

/** The response to a request that is not let through. */
interface Refusal {
  status: number
  /** The error of RFC 6750 §3.1 or RFC 9470 §3. Undefined: the request has no credentials. */
  code?: string
  /** For developers. It never contains data from the token. */
  description?: string
  params?: Params
}

/** Decides about a request. The token is verified before its scopes and classes are judged (RFC 9470 §3). */
async function decide(verifier: Verifier, headers: Headers, need: Requirements): Promise<{ token: AccessToken } | Refusal> {
  const given = headers.get('authorization')
  if (given === null || !/^bearer( |$)/i.test(given)) return { status: 401 }
  // Two headers arrive as one with a comma, which no token has.
  const text = /^bearer +([A-Za-z0-9\-._~+/]+=*) *$/i.exec(given)?.[1]
  if (text === undefined) return { status: 400, code: 'invalid_request', description: 'Expected one Authorization header of the form: Bearer token' }
  let token: AccessToken
  try {
    token = await verifier.verify(text)
  } catch (error) {
    if (error instanceof LatchkeyError && error.code === 'invalid_token') {
      return { status: 401, code: 'invalid_token', description: 'The access token is malformed, expired, revoked or for another resource' }
    }
    return { status: 503, code: 'temporarily_unavailable', description: 'Access tokens cannot be verified at the moment; try again' }
  }
  if (lacksScope(need, token)) {
    return { status: 403, code: 'insufficient_scope', description: 'The access token lacks a required scope', params: [['scope', need.scopes.join(' ')]] }
  }
  if (lacksAuthentication(need, token, verifier.now(), verifier.clockTolerance * 1000)) {
    const params: [string, string][] = []
    if (need.acr) params.push(['acr_values', need.acr.join(' ')])
    if (need.maxAge !== undefined) params.push(['max_age', String(need.maxAge)])
    if (need.scopes.length > 0) params.push(['scope', need.scopes.join(' ')])
    return {
      status: 401,
      code: 'insufficient_user_authentication',
      description: 'The authentication does not satisfy acr_values or max_age; re-authenticate the user',
      params,
    }
  }
  return { token }
}

/** Returns the response with its challenge: scheme Bearer, each parameter once, as a quoted string (RFC 6750 §3). */
function respond({ status, code, description = '', params = [] }: Refusal, common: Params): Response {
  const headers: Record<string, string> = { 'cache-control': 'no-store' }
  if (status === 503) headers['retry-after'] = '1'
  else {
    const all: Params = code === undefined ? common : [['error', code], ['error_description', description], ...params, ...common]
    headers['www-authenticate'] = `Bearer ${all.map(([name, value]) => `${name}="${value}"`).join(', ')}`
  }
  if (code === undefined) return new Response(null, { status, headers })
  return new Response(JSON.stringify({ error: code, error_description: description }), { status, headers: { ...headers, 'content-type': 'application/json' } })
}

/** Inserts the well-known path between host and path of a resource's URL (RFC 9728 §3.1). */
function metadataLocation(resource: string): URL {
  const url = URL.canParse(resource) ? new URL(resource) : undefined
  if (!url || url.username || url.password || /[?#]/.test(resource)) throw invalidOption(`invalid url ${JSON.stringify(resource)}: expected an absolute URL without user, query and fragment`)
  if (!isSecure(url.href)) throw invalidOption(`invalid url ${JSON.stringify(resource)}: expected https (http is allowed on loopback only)`)
  // Parsing resolves dot segments, and adds the slash of an empty path.
  if (/%|\/\//.test(url.pathname) || !isQuotable(resource) || (url.href !== resource && url.href !== `${resource}/`)) {
    throw invalidOption(`invalid url ${JSON.stringify(resource)}: the path must have no percent-encoding, dot segments and double slashes`)
  }
  return new URL(WELL_KNOWN + (url.pathname === '/' ? '' : url.pathname), url)
}

function invalidOption(message: string): LatchkeyError {
  return new LatchkeyError('invalid_option', message)
}
