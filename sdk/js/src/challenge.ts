import type { Demand } from './state.js'

/** A challenge of a `WWW-Authenticate` header (RFC 9110 §11.6.1). */
export interface Challenge {
  scheme: string
  /** By lower-case name; of duplicates the first. */
  params: Readonly<Record<string, string>>
}

/** A scheme, or a parameter and the rest up to the next comma; or what is skipped. */
const piece = /([!#$%&'*+\-.^`|~\w]+)[ \t]*(?:=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([!#$%&'*+\-.^`|~\w]*))[^,]*)?|[,\s]+|[^,]+/g

/**
 * Parses a `WWW-Authenticate` header, in which commas separate both challenges and their parameters. It
 * skips what it does not understand, such as token68.
 */
export function parseChallenges(header: string): Challenge[] {
  const list: { scheme: string; params: Record<string, string> }[] = []
  for (const [, word, quoted, plain] of header.matchAll(piece)) {
    const value = quoted?.replace(/\\(.)/g, '$1') ?? plain
    if (word && value === undefined) list.push({ scheme: word, params: {} })
    const params = list.at(-1)?.params
    const name = word?.toLowerCase()
    if (name && value !== undefined && params && !Object.hasOwn(params, name)) params[name] = value
  }
  return list
}

/** Returns the parameters of the first challenge of a 401 with an error code. */
export function findChallenge(headers: Headers, error: string): Challenge['params'] | undefined {
  return parseChallenges(headers.get('www-authenticate') ?? '').find((c) => c.params['error'] === error)?.params
}

/**
 * Returns the authentication that a resource server requires, from the headers of its 401 (RFC 9470 §3),
 * or undefined if the response does not ask for a step-up.
 */
export function parseChallenge(headers: Headers): Demand | undefined {
  const params = findChallenge(headers, 'insufficient_user_authentication')
  if (!params) return undefined
  const acrValues = params['acr_values']?.split(/\s+/).filter(Boolean)
  const age = params['max_age'] ?? ''
  return {
    ...(acrValues?.length && { acrValues }),
    ...(/^\d{1,10}$/.test(age) && Number(age) < 2 ** 31 && { maxAge: Number(age) }),
  }
}

/** Reports whether a resource server's 401 rejects the access token as such (RFC 6750 §3.1). */
export function isInvalidTokenChallenge(headers: Headers): boolean {
  return findChallenge(headers, 'invalid_token') !== undefined
}
