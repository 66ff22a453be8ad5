import { isInvalidTokenChallenge } from '../challenge.js'
import { LatchkeyError } from '../error.js'
import { json } from './answer.js'
import { keepNewest, REPLACE_PAUSE, type App, type Opened } from './app.js'
import { answerHeaders, forwardHeaders } from './header.js'
import type { Route } from './route.js'

/** A token that replaced one that an upstream rejected. */
interface Replacement {
  token: string
  at: number
  accepted: boolean
}

const MAX_REPLACEMENTS = 1000
const replacements = new Map<string, Replacement>()

/**
 * Forwards a request to an upstream with an access token of the session. If the upstream rejects the token as
 * invalid, the session is refreshed once, and a request without a body is sent again.
 */
export async function forward(app: App, { client, state }: Opened, request: Request, { route, to }: { route: Route; to: URL }): Promise<Response> {
  const options = route.audience === undefined ? {} : { audience: route.audience }
  const key = `${state.session?.id ?? ''} ${route.prefix}`
  const send = async (token: string) => {
    const response = await app.fetch(to, {
      method: request.method,
      headers: forwardHeaders(request.headers, route, token),
      redirect: 'manual',
      signal: request.signal,
      ...(request.body && { body: request.body, duplex: 'half' }),
    })
    const replacement = replacements.get(key)
    const isRejected = response.status === 401 && isInvalidTokenChallenge(response.headers)
    if (!isRejected && replacement?.token === token) replacement.accepted = true
    return { response, isRejected }
  }
  const token = await client.getToken(options)
  try {
    const first = await send(token)
    if (!first.isRejected || wasJustReplaced(key, token)) return passOn(first.response, route)
    const fresh = await client.token(options, token)
    if (replacements.get(key)?.token !== fresh) replacements.delete(key)
    keepNewest(replacements, key, MAX_REPLACEMENTS, () => ({ token: fresh, at: Date.now(), accepted: false }))
    // The body is gone: the next request has the fresh token.
    if (request.body) return passOn(first.response, route)
    await first.response.body?.cancel()
    return passOn((await send(fresh)).response, route)
  } catch (error) {
    return failed(app, error)
  }
}

/** Reports whether a token has just replaced a rejected one, so that yet another token would not help. */
function wasJustReplaced(key: string, token: string): boolean {
  const replacement = replacements.get(key)
  return replacement?.token === token && (!replacement.accepted || Date.now() - replacement.at < REPLACE_PAUSE)
}

function passOn(response: Response, route: Route): Response {
  const { status } = response
  const isEmpty = status === 204 || status === 205 || status === 304
  return new Response(isEmpty ? null : response.body, { status, headers: answerHeaders(response.headers, route) })
}

function failed(app: App, error: unknown): Response {
  if (error instanceof LatchkeyError) throw error
  app.log(`an upstream did not respond: ${error instanceof Error ? error.message : 'error'}`)
  return json(502, { error: 'bad_gateway' })
}
