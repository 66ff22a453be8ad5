import { CSRF_HEADER } from './origin.js'
import type { Route } from './route.js'

const names = (text: string): ReadonlySet<string> => new Set(text.split(/\s+/).filter(Boolean))

/**
 * Headers that pass from the browser to an upstream. Others are removed: upstreams trust many names as set
 * by a proxy (X-Forwarded-For, Remote-User, client certificates), and servers that use CGI, WSGI or Rack read
 * X_Forwarded_For as X-Forwarded-For.
 */
export const requestHeaders = names(`
  accept accept-language cache-control pragma
  content-type content-encoding content-language content-disposition content-digest repr-digest digest
  if-match if-none-match if-modified-since if-unmodified-since if-range range
  idempotency-key last-event-id prefer user-agent x-requested-with
  traceparent tracestate x-request-id x-correlation-id`)

/**
 * Headers that pass from an upstream to the browser. Others are removed: an upstream could otherwise control
 * the servers in front (X-Accel-Redirect, CDN-Cache-Control), Next.js itself (X-Middleware-Rewrite), or this
 * origin in the browser (cookies, CORS, Clear-Site-Data, Alt-Svc, reporting).
 */
export const responseHeaders = names(`
  allow accept-patch accept-post accept-ranges preference-applied
  cache-control etag expires last-modified vary date
  content-type content-length content-encoding content-language content-disposition content-location content-range
  content-digest repr-digest digest
  location retry-after www-authenticate deprecation sunset
  ratelimit ratelimit-policy ratelimit-limit ratelimit-remaining ratelimit-reset
  x-ratelimit-limit x-ratelimit-remaining x-ratelimit-reset x-total-count
  server-timing traceresponse x-request-id x-correlation-id`)

/**
 * Headers that no option can let through in either direction: each carries a credential, frames the message,
 * or is set by the proxy.
 */
export const neverPass = names(`
  authorization proxy-authorization proxy-authenticate cookie set-cookie host
  connection keep-alive proxy-connection te trailer transfer-encoding upgrade content-length accept-encoding
  forwarded x-forwarded-for x-forwarded-host x-forwarded-proto ${CSRF_HEADER}
  x-accel-redirect x-sendfile x-content-type-options clear-site-data
  x-middleware-rewrite x-middleware-next x-middleware-override-headers x-middleware-set-cookie`)

/** Returns the headers of a request for its upstream. */
export function forwardHeaders(from: Headers, route: Route, token: string): Headers {
  const headers = new Headers()
  from.forEach((value, name) => {
    if (route.requestHeaders.has(name)) headers.append(name, value)
  })
  headers.set('authorization', `Bearer ${token}`)
  return headers
}

/** Returns the headers of an upstream's response for the browser. */
export function answerHeaders(from: Headers, route: Route): Headers {
  const headers = new Headers()
  from.forEach((value, name) => {
    if (route.responseHeaders.has(name)) headers.append(name, value)
  })
  if (headers.has('content-encoding')) {
    // `fetch` has decoded the body.
    headers.delete('content-encoding')
    headers.delete('content-length')
  }
  // A browser would prompt for a password for other schemes.
  const challenge = headers.get('www-authenticate')
  if (challenge !== null && !/^(bearer|dpop)( |$)/i.test(challenge)) headers.delete('www-authenticate')
  if (!isPrivate(headers.get('cache-control') ?? '')) {
    headers.set('cache-control', 'no-store')
    headers.delete('expires')
  }
  headers.set('x-content-type-options', 'nosniff')
  return headers
}

/**
 * Reports whether `Cache-Control` restricts a response to the browser that requested it: it contains
 * `private` or `no-store`, and nothing that allows a shared cache to store it. With an argument, `private`
 * only concerns single headers (RFC 9111 §5.2.2.7).
 */
export function isPrivate(cacheControl: string): boolean {
  const directive = /[\s,]*([!#$%&'*+\-.^_`|~\w]+)(=(?:"(?:[^"\\]|\\.)*"|[!#$%&'*+\-.^_`|~\w]+))?[ \t]*(?=,|$)/y
  let restricted = false
  while (/[^\s,]/.test(cacheControl.slice(directive.lastIndex))) {
    const at = directive.lastIndex
    const match = directive.exec(cacheControl)
    if (!match || directive.lastIndex === at) return false // a value that does not parse restricts nothing
    const [, name = '', argument] = match
    switch (name.toLowerCase()) {
      case 'private':
      case 'no-store':
        restricted ||= argument === undefined
        break
      case 'public':
      case 's-maxage':
        return false
    }
  }
  return restricted
}
