import type { NextOptions } from './options.js'

/** Sent by scripts of the app, with any value. A page of another origin cannot add it without a CORS preflight, which is not granted. */
export const CSRF_HEADER = 'latchkey-csrf'

/**
 * Reports whether a request comes from a page of this origin, by the headers that a browser sends: a
 * request of another site or subdomain does not, and one without both headers comes from no browser.
 */
export function isSameOrigin(request: Headers, trusted: NextOptions['trustedOrigins'] = []): boolean {
  const [site, origin] = [request.get('sec-fetch-site'), request.get('origin')]
  if (origin !== null && trusted.includes(origin)) return true
  if (site !== null) return site === 'same-origin' || site === 'none'
  return origin === null || (URL.canParse(origin) && new URL(origin).host === request.get('host'))
}

/** Reports whether a `Host` header names this machine. */
export function isLocal(host: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/.test(host)
}

/**
 * Returns a path of this origin to go to after signing in, or the fallback for anything else: a link that an
 * attacker has made must not lead to another site.
 */
export function localPath(path: unknown, fallback = '/'): string {
  if (typeof path !== 'string' || !/^\/(?![/\\])[\x21-\x7e]*$/.test(path) || path.includes('\\')) return fallback
  const base = 'http://localhost'
  if (!URL.canParse(path, base)) return fallback
  const url = new URL(path, base)
  const local = url.pathname + url.search + url.hash
  // Dot segments may resolve to two slashes.
  return url.origin === base && !local.startsWith('//') ? local : fallback
}
