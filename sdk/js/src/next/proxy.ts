import { NextResponse } from 'next/server.js'
import { isRetryable, LatchkeyError } from '../error.js'
import { requestCookies } from '../server/cookie_jar.js'
import { isSessionCookie } from '../server/cookie_storage.js'
import { isRefusedToken, keepNewest, RENDER_WINDOW, REPLACE_PAUSE, type App, type Opened } from './app.js'

/** Returns the response of the middleware, given the headers that the page must receive. */
export type Respond = (headers: Headers) => Response | Promise<Response>

const MAX_REPLACED = 1000
/** When the token of a session was last replaced because it was rejected, by session id. */
const replacedAt = new Map<string, number>()

/**
 * Refreshes the session of a request if its access token expires soon or was revoked, before the page is
 * rendered. The page receives the cookie as the browser will send it from now on, and the browser receives it
 * with the response. Whatever goes wrong, the session is kept, unless the server reports its end.
 */
export async function refreshBeforeRender(app: App, request: Request, respond: Respond = next): Promise<Response> {
  const jar = requestCookies(request.headers)
  let opened: Opened | undefined
  try {
    opened = await app.open(jar, request.headers, undefined, RENDER_WINDOW)
    if (opened.state.session) await refresh(app, opened)
  } catch (error) {
    // The browser may have a newer cookie by now: this page is rendered without the session, and no cookie is deleted.
    if (isRefusedToken(error)) jar.hide((name) => isSessionCookie(app.cookie, name))
    report(app, error)
  }
  try {
    await opened?.close()
  } catch (error) {
    report(app, error)
  }
  const headers = new Headers(request.headers)
  if (jar.header === '') headers.delete('cookie')
  else headers.set('cookie', jar.header)
  const response = await respond(headers)
  jar.writeTo(response.headers)
  return response
}

async function refresh(app: App, { client }: Opened): Promise<void> {
  await client.getToken()
  if (!app.canVerify) return
  const tokens = await client.load()
  try {
    await app.verify(tokens)
  } catch (error) {
    // The session has ended elsewhere, or a key was retired: the refresh shows which.
    if (!(error instanceof LatchkeyError) || error.code !== 'invalid_token') throw error
    const last = replacedAt.get(tokens.id) ?? -Infinity
    if (Date.now() - last < REPLACE_PAUSE) return
    replacedAt.delete(tokens.id)
    keepNewest(replacedAt, tokens.id, MAX_REPLACED, () => Date.now())
    await client.refreshSession()
  }
}

function report(app: App, error: unknown): void {
  if (error instanceof LatchkeyError && ['not_signed_in', 'session_ended'].includes(error.code)) return
  const what = isRetryable(error) ? 'could not refresh a session, and keeps it' : 'cannot refresh a session'
  app.log(`${what}: ${error instanceof Error ? error.message : 'error'}`)
}

/** Continues with the page. */
function next(headers: Headers): Response {
  return NextResponse.next({ request: { headers } })
}
