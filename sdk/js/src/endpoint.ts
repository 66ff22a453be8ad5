import { textOf } from './claims.js'
import { LatchkeyError, unavailable } from './error.js'

/** `fetch`, as far as the SDK uses it. */
export type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>

/**
 * Sends requests to the issuer and reads the responses. Its errors are of two kinds: a refusal by the
 * server itself, and `unavailable` for everything that may come from something in between, such as a
 * proxy or a captive portal.
 */
export class Endpoint {
  readonly #issuer: string
  readonly #fetch: Fetch
  /** Bounds each request, in milliseconds. */
  readonly #timeout: number

  constructor(issuer: string, fetch: Fetch, timeout: number) {
    checkIssuer(issuer)
    this.#issuer = issuer
    this.#fetch = fetch
    this.#timeout = timeout
  }

  /** Posts a form. Values that are undefined are left out. */
  post(path: string, form: Readonly<Record<string, string | readonly string[] | undefined>>, init?: { keepalive: boolean }): Promise<unknown> {
    const body = new URLSearchParams()
    for (const [name, value] of Object.entries(form)) {
      for (const one of [value ?? []].flat()) body.append(name, one)
    }
    return this.send(path, { method: 'POST', body, ...init })
  }

  /** Sends a request and returns the JSON of the response, or undefined if it is empty. */
  async send(path: string, init: Omit<RequestInit, 'headers'> & { headers?: Record<string, string> }): Promise<unknown> {
    if (isOffline()) throw unavailable('the device is offline')
    const [where = ''] = path.split('?') // queries are not needed in a message
    const abort = new AbortController()
    const timer = setTimeout(() => abort.abort(), this.#timeout)
    try {
      const response = await this.#fetch(this.#issuer + path, {
        redirect: 'manual', // not "error", which workers do not have: a redirect is an unexpected response
        ...(typeof document !== 'undefined' && { credentials: 'omit' as const }),
        ...init,
        headers: { accept: 'application/json', ...init.headers },
        signal: abort.signal,
      })
      return read(where, response, await response.text())
    } catch (error) {
      if (error instanceof LatchkeyError) throw error
      throw unavailable(`request to ${where} ${abort.signal.aborted ? 'timed out' : 'failed'}`, { cause: error })
    } finally {
      clearTimeout(timer)
    }
  }
}

function read(where: string, response: Response, text: string): unknown {
  const { status, headers } = response
  if ((status === 200 || status === 204) && text === '') return undefined
  let json: Partial<Record<string, unknown>> | undefined
  if (/^application\/json\s*(;|$)/i.test(headers.get('content-type') ?? '') && text.length <= 2 ** 20) {
    try {
      json = JSON.parse(text) as Partial<Record<string, unknown>>
    } catch {
      // Handled as a response that is not from the server.
    }
  }
  if (status === 200 && json) return json
  const retryAfter = retryAfterOf(headers)
  const code = textOf(json?.['error'])
  if (!code || status < 400) throw unavailable(`unexpected response from ${where}: status ${status}`, { status, retryAfter })
  const [reason, endReason, description] = ['latchkey_reason', 'latchkey_end_reason', 'error_description'].map((name) => textOf(json?.[name]))
  throw new LatchkeyError(code, `${status} ${code}${reason ? ` (${reason})` : ''}${description ? `: ${description}` : ''}`, {
    retryable: status >= 500 || status === 429,
    status,
    reason,
    endReason,
    retryAfter,
  })
}

function retryAfterOf(headers: Headers): number | undefined {
  const value = headers.get('retry-after') ?? ''
  const seconds = Number(value) || (Date.parse(value) - Date.now()) / 1000
  return seconds > 0 ? seconds : undefined
}

/** Only `false` is certain: a device that has a network may still not reach the server. */
export function isOffline(): boolean {
  return (globalThis as { navigator?: Partial<Navigator> }).navigator?.onLine === false
}

/** Reports whether a URL, spelled as in `URL.href`, is https, or http on loopback. */
export function isSecure(url: string): boolean {
  return /^(https:\/\/|http:\/\/(localhost|127(\.\d+){3}|\[::1\])(:\d+)?([/?#]|$))/.test(url)
}

/** Rejects an issuer that cannot be the `iss` of tokens. It needs no `URL`, of which React Native has a part only. */
export function checkIssuer(issuer: string): void {
  if (!isSecure(issuer) || !/^\w+:\/\/([^\s/?#@:]+|\[[\da-f:.]+\])(:\d+)?(\/[^\s?#]*[^\s?#/])?$/.test(issuer)) {
    throw new LatchkeyError(
      'invalid_option',
      `invalid issuer ${issuer}: expected an https URL (or http on loopback) without user, query, fragment and final slash`,
    )
  }
}
