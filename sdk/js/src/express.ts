/**
 * Middleware for Express 4 and 5, and for other frameworks with Connect's shape.
 *
 * @packageDocumentation
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { headersOf, send } from './server/node.js'
import type { AccessToken } from './server/access_token.js'
import type { Requirement } from './server/requirement.js'
import type { ResourceServer } from './server/resource.js'

/** A request that passed {@link requireToken}. */
export interface AuthorizedRequest extends IncomingMessage {
  token?: AccessToken
}

/** Middleware as Express and Connect call it. */
export type Middleware = (request: IncomingMessage, response: ServerResponse, next: (error?: unknown) => void) => void

/**
 * Returns middleware that lets a request through if its access token is valid and meets all requirements.
 * The handler finds the token by {@link tokenOf}. Other requests are answered with a challenge.
 */
export function requireToken(api: ResourceServer, ...requirements: Requirement[]): Middleware {
  return (request, response, next) => {
    const check = async () => {
      const result = await api.check(headersOf(request), ...requirements)
      if (result.response) await send(result.response, response)
      else (request as AuthorizedRequest).token = result.token
      return result.response === undefined
    }
    check().then((passed) => passed && next(), next)
  }
}

/** Returns the access token of a request that passed {@link requireToken}. It throws for another one. */
export function tokenOf(request: IncomingMessage): AccessToken {
  const { token } = request as AuthorizedRequest
  if (!token) throw new Error('tokenOf: the request did not pass requireToken')
  return token
}

/** Returns middleware that serves the resource's metadata (RFC 9728). Mount it at the root of the host. */
export function serveMetadata(api: ResourceServer): Middleware {
  return (request, response, next) => {
    const url = new URL(request.url ?? '/', 'http://localhost')
    const answer = api.serveMetadata(new Request(url, { method: request.method ?? 'GET' }))
    if (answer) send(answer, response).catch(next)
    else next()
  }
}
