/**
 * Hooks for Fastify 4 and 5.
 *
 * @packageDocumentation
 */
import type { IncomingMessage } from 'node:http'
import { headersOf } from './server/node.js'
import type { AccessToken } from './server/access_token.js'
import type { Requirement } from './server/requirement.js'
import type { ResourceServer } from './server/resource.js'

/** A request of Fastify, as far as the hooks use it. */
export interface FastifyRequestLike {
  readonly raw: IncomingMessage
}

/** A reply of Fastify, as far as the hooks use it. */
export interface FastifyReplyLike {
  code(status: number): unknown
  header(name: string, value: string): unknown
  send(payload?: unknown): unknown
}

/** A hook or a handler of Fastify. */
export type Hook = (request: FastifyRequestLike, reply: FastifyReplyLike) => Promise<unknown>

const tokens = new WeakMap<IncomingMessage, AccessToken>()

/**
 * Returns a hook for `onRequest` or `preHandler` that lets a request through if its access token is valid
 * and meets all requirements. The handler finds the token by {@link tokenOf}. Other requests are answered
 * with a challenge.
 */
export function requireToken(api: ResourceServer, ...requirements: Requirement[]): Hook {
  return async (request, reply) => {
    const result = await api.check(headersOf(request.raw), ...requirements)
    if (result.response) return answer(result.response, reply)
    tokens.set(request.raw, result.token)
    return undefined
  }
}

/** Returns the access token of a request that passed {@link requireToken}. It throws for another one. */
export function tokenOf(request: FastifyRequestLike): AccessToken {
  const token = tokens.get(request.raw)
  if (!token) throw new Error('tokenOf: the request did not pass requireToken')
  return token
}

/** Returns a handler that serves the resource's metadata (RFC 9728): route `api.metadataPath` to it. */
export function serveMetadata(api: ResourceServer): Hook {
  return async (request, reply) => {
    const url = new URL(request.raw.url ?? '/', 'http://localhost')
    const response = api.serveMetadata(new Request(url, { method: request.raw.method ?? 'GET' })) ?? new Response(null, { status: 404 })
    return answer(response, reply)
  }
}

async function answer(response: Response, reply: FastifyReplyLike): Promise<FastifyReplyLike> {
  reply.code(response.status)
  response.headers.forEach((value, name) => void reply.header(name, value))
  const text = await response.text()
  reply.send(text)
  return reply
}
