import { isSecure } from '../endpoint.js'
import { LatchkeyError } from '../error.js'
import { neverPass, requestHeaders, responseHeaders } from './header.js'
import type { Upstream } from './options.js'

/** An upstream whose options were checked. */
export interface Route {
  /** Of paths here, with a slash at both ends. */
  readonly prefix: string
  readonly base: URL
  readonly audience: Upstream['audience']
  /** Names in lower case that may pass. */
  readonly requestHeaders: ReadonlySet<string>
  readonly responseHeaders: ReadonlySet<string>
}

/** Checks the upstreams. The longest prefix comes first, because the first match counts. */
export function readUpstreams(upstreams: Readonly<Record<string, Upstream>>): Route[] {
  const routes = Object.entries(upstreams).map(([prefix, up]): Route => {
    if (!/^\/(.*\/)?$/.test(prefix)) throw invalid(`prefix ${JSON.stringify(prefix)}: expected a slash at both ends`)
    const base = URL.canParse(up.url) ? new URL(up.url) : undefined
    if (!base || base.username || base.password || /[?#]/.test(up.url) || !base.pathname.endsWith('/') || !isSecure(base.href)) {
      throw invalid(`url ${JSON.stringify(up.url)}: expected an https URL (or http on loopback) with a slash at its end, without user, query and fragment`)
    }
    return {
      prefix, base, audience: up.audience,
      requestHeaders: withNames(requestHeaders, up.requestHeaders),
      responseHeaders: withNames(responseHeaders, up.responseHeaders),
    }
  })
  return routes.sort((a, b) => b.prefix.length - a.prefix.length)
}

/** Servers that use CGI read an underscore as a hyphen. */
function withNames(defaults: ReadonlySet<string>, names: readonly string[] = []): ReadonlySet<string> {
  for (const name of names) {
    if (!/^[A-Za-z0-9-]+$/.test(name) || neverPass.has(name.toLowerCase())) throw invalid(`header ${JSON.stringify(name)}: it can never pass`)
  }
  return new Set([...defaults, ...names.map((name) => name.toLowerCase())])
}

function invalid(message: string): LatchkeyError {
  return new LatchkeyError('invalid_option', `upstreams: invalid ${message}`)
}

/**
 * Returns the route for a URL and the URL to forward to. A path that could leave its prefix once a server
 * decodes it (even twice), cleans it, or removes parameters from its segments, is not forwarded.
 */
export function findRoute(routes: readonly Route[], from: URL): { route: Route; to: URL } | undefined {
  const { pathname } = from
  if (!isSafePath(pathname)) return undefined
  const route = routes.find(({ prefix }) => pathname.startsWith(prefix))
  if (!route) return undefined
  const to = new URL(route.base)
  to.pathname += pathname.slice(route.prefix.length)
  to.search = from.search
  return { route, to }
}

function isSafePath(escaped: string): boolean {
  if (/%2f|%5c/i.test(escaped)) return false
  let path = escaped
  for (let i = 0; i < 2; i++) {
    let decoded: string
    try {
      decoded = decodeURIComponent(path)
    } catch {
      return i > 0 // a percent sign that was itself encoded
    }
    const hasDots = decoded.split('/').some((segment) => /^\.\.?(;|$)/.test(segment))
    if (hasDots || /[\\\0]/.test(decoded) || decoded.split('/').length !== escaped.split('/').length) return false
    path = decoded
  }
  return true
}
