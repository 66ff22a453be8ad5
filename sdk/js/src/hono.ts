/**
 * Middleware for Hono 4.
 *
 * @packageDocumentation
 */
import type { AccessToken } from './server/access_token.js'
import type { Requirement } from './server/requirement.js'
import type { ResourceServer } from './server/resource.js'

/** The context of Hono, as far as the middleware uses it. */
export interface ContextLike {
  readonly req: { readonly raw: Request }
}

/** Middleware as Hono calls it. */
export type Middleware = (context: ContextLike, next: () => Promise<void>) => Promise<Response | undefined>

const tokens = new WeakMap<Request, AccessToken>()

/**
 * Returns middleware that lets a request through if its access token is valid and meets all requirements.
 * The handler finds the token by {@link tokenOf}. Other requests are answered with a challenge.
 */
export function requireToken(api: ResourceServer, ...requirements: Requirement[]): Middleware {
  return async ({ req }, next) => {
    const { token, response } = await api.check(req.raw.headers, ...requirements)
    if (response) return response
    tokens.set(req.raw, token)
    await next()
    return undefined
  }
}

/** Returns the access token of a request that passed {@link requireToken}. It throws for another one. */
export function tokenOf({ req }: ContextLike): AccessToken {
  const token = tokens.get(req.raw)
  if (!token) throw new Error('tokenOf: the request did not pass requireToken')
  return token
}

/** Returns middleware that serves the resource's metadata (RFC 9728). Use it for every path of the host. */
export function serveMetadata(api: ResourceServer): Middleware {
  return async ({ req }, next) => {
    const response = api.serveMetadata(req.raw)
    if (response) return response
    await next()
    return undefined
  }
}
