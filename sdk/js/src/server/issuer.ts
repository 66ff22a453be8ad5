import { checkIssuer, isSecure, type Fetch } from '../endpoint.js'
import { LatchkeyError, unavailable } from '../error.js'
import type { Clock } from '../options.js'
import { Cached } from './cached.js'

/** Bounds each fetch of a document, in milliseconds. */
export const FETCH_TIMEOUT = 5000
const MAX_METADATA = 1 << 20
/** How long metadata is used before it is fetched again; older metadata while the issuer does not respond. */
const METADATA_LIFE = 3600_000

/** The members of an issuer's metadata that the SDK uses (RFC 8414 §2). */
export interface Metadata {
  issuer: string
  jwks_uri: string
  introspection_endpoint: string
}

/** An issuer, and how to reach it. */
export class Issuer {
  readonly url: string
  readonly fetch: Fetch
  readonly clock: Required<Clock>
  readonly metadata: Cached<Metadata>

  constructor(url: string, fetchWith: Fetch | undefined, clock: Clock | undefined) {
    checkIssuer(url)
    this.url = url
    this.fetch = fetchWith ?? ((input, init) => fetch(input, init))
    this.clock = { now: () => (clock ? clock.now() : Date.now()), monotonic: () => clock?.monotonic?.() ?? (clock ? clock.now() : performance.now()) }
    this.metadata = new Cached(
      () => this.clock.now(),
      async () => {
        const requestedAt = this.clock.now()
        const { text } = await this.get(`${url}/.well-known/openid-configuration`, 'application/json', MAX_METADATA)
        let value: Partial<Metadata>
        try {
          value = JSON.parse(text) as Partial<Metadata>
        } catch (cause) {
          throw unavailable(`the metadata of ${url} is not JSON`, { cause })
        }
        // RFC 8414 §3.3
        if (value.issuer !== url) throw unavailable(`the metadata of ${url} has another issuer; expected the URL that the SDK was configured with`)
        return { value: value as Metadata, requestedAt, freshUntil: requestedAt + METADATA_LIFE, usableUntil: Infinity }
      },
    )
  }

  /** Returns the URL of an endpoint, which must not be less secure than the issuer. */
  async endpoint(name: 'jwks_uri' | 'introspection_endpoint'): Promise<string> {
    const to: unknown = (await this.metadata.get()).value[name]
    const url = typeof to === 'string' && URL.canParse(to) ? new URL(to) : undefined
    if (!url || url.username || !isSecure(url.href)) throw unavailable(`the metadata of ${this.url} has an invalid ${name}: expected an https URL`)
    return url.href
  }

  /** Fetches a document of at most `limit` characters. Every error is retryable. */
  async get(from: string, accept: string, limit: number): Promise<{ text: string; headers: Headers }> {
    return this.request(from, { headers: { accept } }, async (response) => {
      if (response.status !== 200) throw unavailable(`unexpected response from ${from}: status ${response.status}`, { status: response.status })
      const text = await response.text()
      if (text.length > limit) throw unavailable(`${from} is longer than ${limit} characters`)
      return { text, headers: response.headers }
    })
  }

  /** Sends a request and reads the response, within the time limit. Every error is retryable. */
  async request<T>(to: string, init: RequestInit, read: (response: Response) => Promise<T>): Promise<T> {
    const abort = new AbortController()
    const timer = setTimeout(() => abort.abort(), FETCH_TIMEOUT)
    try {
      return await read(await this.fetch(to, { redirect: 'manual', ...init, signal: abort.signal }))
    } catch (cause) {
      throw cause instanceof LatchkeyError ? cause : unavailable(`request to ${to} failed`, { cause })
    } finally {
      clearTimeout(timer)
    }
  }
}

/** A client's own credentials, for HTTP Basic (RFC 6749 §2.3.1). */
export function basic(clientId: string, clientSecret: string): string {
  const encode = (text: string) => encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`).replace(/%20/g, '+')
  return `Basic ${btoa(`${encode(clientId)}:${encode(clientSecret)}`)}`
}

/** Returns an error for a token that must not be accepted. */
export function invalidToken(why: string): LatchkeyError {
  return new LatchkeyError('invalid_token', `the access token is rejected: ${why}`, { status: 401 })
}
