import { LatchkeyError } from '../error.js'
import { requestCookies } from '../server/cookie_jar.js'
import { describe } from '../session.js'
import type { Demand, State, Tokens } from '../state.js'
import { json, refusal } from './answer.js'
import type { App, Opened } from './app.js'
import { CSRF_HEADER, isSameOrigin } from './origin.js'
import { findRoute } from './route.js'
import { forward } from './upstream.js'

/** Bounds the body of a request to the endpoints of the session. */
const MAX_BODY = 64 << 10

/**
 * Answers a request to the endpoints of the session, or forwards it to an upstream. Every request needs the
 * header `Latchkey-CSRF`, and must come from this origin.
 */
export async function handle(app: App, request: Request): Promise<Response> {
  const url = new URL(request.url)
  const base = `${app.options.basePath ?? '/auth'}/`
  const found = url.pathname.startsWith(base) ? undefined : findRoute(app.routes, url)
  if (!found && !url.pathname.startsWith(base)) return json(404, { error: 'not_found' })
  if (!isSameOrigin(request.headers, app.options.trustedOrigins) || !request.headers.get(CSRF_HEADER)) return json(403, { error: 'request_forged' })
  const jar = requestCookies(request.headers)
  let response: Response
  let opened: Opened | undefined
  try {
    opened = await app.open(jar, request.headers)
    response = found ? await forward(app, opened, request, found) : await answer(app, opened, request, url.pathname.slice(base.length), url.searchParams)
  } catch (error) {
    response = refusal(error, app.log)
  }
  try {
    await opened?.close()
  } catch (error) {
    // The browser cannot keep the session.
    return refusal(error, app.log)
  }
  jar.writeTo(response.headers)
  return response
}

/** Answers a request to an endpoint of the session. No answer contains a token. */
async function answer(app: App, { client, state }: Opened, request: Request, path: string, query: URLSearchParams): Promise<Response> {
  const [what = '', id, ...more] = path.split('/')
  const call = `${request.method} ${what}${id === undefined ? '' : '/:id'}${more.length > 0 ? '/…' : ''}`
  switch (call) {
    case 'GET session':
      if (!state.session) return json(200, { session: null, latchkey_end_reason: endReason(state) })
      try {
        await client.getToken()
      } catch (error) {
        if (!(error instanceof LatchkeyError) || error.code !== 'session_ended') throw error
        return json(200, { session: null, latchkey_end_reason: error.endReason })
      }
      return json(200, await sessionBody(client))
    case 'POST session': {
      const { clientToken, ...options } = await readBody(request)
      await client.createSession(clientToken, { ...options, ...app.grants })
      return json(200, await sessionBody(client))
    }
    case 'POST step-up': {
      const { clientToken, subjectTokenType, acrValues, maxAge } = await readBody(request)
      await client.stepUp(clientToken, { ...(subjectTokenType && { subjectTokenType }), acrValues, maxAge })
      return json(200, await sessionBody(client))
    }
    case 'POST refresh':
      await client.refreshSession()
      return json(200, await sessionBody(client))
    case 'DELETE session': {
      const scope = query.get('scope') ?? 'current'
      if (scope !== 'current' && scope !== 'others' && scope !== 'all') throw badRequest('scope must be current, others or all')
      await client.signOut({ scope })
      return new Response(null, { status: 204 })
    }
    case 'GET sessions': {
      const cursor = query.get('cursor')
      return json(200, (await client.call('GET', `/sessions?limit=200${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`)) as object)
    }
    case 'DELETE sessions/:id':
      await client.revokeSession(decodeURIComponent(id as string))
      return new Response(null, { status: 204 })
    default:
      return json(404, { error: 'not_found' })
  }
}

/** Returns why the last session ended. Undefined: the user signed out, or never signed in. */
export function endReason(state: State): string | undefined {
  return state.session ? undefined : state.tombstones[0]?.reason
}

/** Describes the session for the browser. */
async function sessionBody(client: Opened['client']): Promise<object> {
  const tokens = await client.load()
  const { id, claims } = describe(tokens)
  return { session: { id, expires_at: tokens.expiresAt, expires_in: Math.floor(lifeLeft(tokens)), claims } }
}

/** Returns how many seconds the access token still lives. */
function lifeLeft({ expiresIn, receivedAt }: Tokens): number {
  return Math.min(expiresIn, Math.max(0, expiresIn - (Date.now() - receivedAt) / 1000))
}

interface Body extends Demand {
  clientToken: string
  subjectTokenType?: string
  deviceName?: string
}

/** Reads the body of a sign-in or a step-up. A form of another site cannot send this media type. */
async function readBody(request: Request): Promise<Body> {
  if (!/^application\/json\s*(;|$)/i.test(request.headers.get('content-type') ?? '')) throw badRequest('expected a body of type application/json')
  const text = await readText(request)
  let body: unknown
  try {
    body = JSON.parse(text)
  } catch {
    throw badRequest('the body is not JSON')
  }
  const { client_token: clientToken, subject_token_type: type, device_name: deviceName, acr_values: acrValues, max_age: maxAge } = (body ?? {}) as Record<string, unknown>
  if (typeof clientToken !== 'string' || clientToken === '') throw badRequest('client_token is missing')
  const isTexts = (value: unknown): value is string[] => Array.isArray(value) && value.every((item) => typeof item === 'string')
  return {
    clientToken,
    ...(typeof type === 'string' && { subjectTokenType: type }),
    ...(typeof deviceName === 'string' && { deviceName }),
    ...(isTexts(acrValues) && { acrValues }),
    ...(typeof maxAge === 'number' && { maxAge }),
  }
}

/** Reads a body, but not more of it than `MAX_BODY`. */
async function readText(request: Request): Promise<string> {
  const decoder = new TextDecoder()
  let [text, size] = ['', 0]
  for (const reader = request.body?.getReader(); reader; ) {
    const { done, value } = await reader.read()
    if (done) break
    size += value.byteLength
    if (size > MAX_BODY) {
      await reader.cancel()
      throw badRequest('the body is too long')
    }
    text += decoder.decode(value, { stream: true })
  }
  return text + decoder.decode()
}

function badRequest(message: string): LatchkeyError {
  return new LatchkeyError('invalid_request', message, { status: 400 })
}

