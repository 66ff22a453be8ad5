import { isRetryable, LatchkeyError } from '../error.js'
import { isRefusedToken } from './app.js'

/** Returns a response in JSON. It is not stored by any cache. */
export function json(status: number, body: object, headers: Record<string, string> = {}): Response {
  return new Response(JSON.stringify(body), { status, headers: { 'content-type': 'application/json', 'cache-control': 'private, no-store', ...headers } })
}

/** Returns the response for a request whose session yields no token, or whose call was refused. */
export function refusal(error: unknown, log: (message: string) => void): Response {
  const failure = error instanceof LatchkeyError ? error : undefined
  if (failure && (['not_signed_in', 'session_ended'].includes(failure.code) || isRefusedToken(failure))) return loginRequired(failure.endReason)
  if (isRetryable(error)) return json(503, { error: 'temporarily_unavailable' }, { 'retry-after': '1' })
  const { code = 'error', status = 0, reason, endReason } = failure ?? {}
  if (status >= 400 && status < 500 && !['invalid_client', 'unauthorized_client', 'invalid_token'].includes(code)) {
    return json(status, { error: code, latchkey_reason: reason, latchkey_end_reason: endReason })
  }
  log(`a call for a session failed: ${failure?.message ?? String(error)}`) // such as invalid_client: the user cannot fix that
  return json(502, { error: 'bad_gateway' })
}

/** Returns the response to a request without a session. A 401 has a challenge (RFC 9110 §15.5.2). */
export function loginRequired(endReason?: string): Response {
  return json(401, { error: 'login_required', latchkey_end_reason: endReason }, { 'www-authenticate': 'Cookie realm="session"' })
}
