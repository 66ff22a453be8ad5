import type { Demand } from './state.js'

/** A challenge of a `WWW-Authenticate` header (RFC 9110 §11.6.1). */
export interface Challenge {
  scheme: string
  /** By lower-case name; of duplicates the first. */
  params: Readonly<Record<string, string>>
}

const param = /^([!#$%&'*+\-.^_`|~\w]+)[ \t]*(?:=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([!#$%&'*+\-.^_`|~\w]*)))?/

/**
 * Parses a `WWW-Authenticate` header, in which commas separate both challenges and their parameters. It
 * skips what it does not understand, such as token68.
 */
export function parseChallenges(header: string): Challenge[] {
  const list: { scheme: string; params: Record<string, string> }[] = []
  for (let rest = header; (rest = rest.replace(/^[,\s]+/, '')) !== ''; ) {
    const match = param.exec(rest)
    if (match === null) {
      const comma = rest.indexOf(',')
      rest = comma < 0 ? '' : rest.slice(comma)
      continue
    }
    const [all, word = '', quoted, plain] = match
    rest = rest.slice(all.length)
    if (quoted === undefined && plain === undefined) {
      list.push({ scheme: word, params: {} })
      continue
    }
    const params = list.at(-1)?.params
    if (params && !Object.hasOwn(params, word.toLowerCase())) {
      params[word.toLowerCase()] = quoted?.replace(/\\(.)/g, '$1') ?? plain ?? ''
    }
    const comma = rest.indexOf(',')
    rest = comma < 0 ? '' : rest.slice(comma)
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
  const age = params['max_age']
  return {
    ...(acrValues?.length && { acrValues }),
    ...(age !== undefined && /^\d{1,10}$/.test(age) && Number(age) < 2 ** 31 && { maxAge: Number(age) }),
  }
}

/** Reports whether a resource server's 401 rejects the access token as such (RFC 6750 §3.1). */
export function isInvalidTokenChallenge(headers: Headers): boolean {
  return findChallenge(headers, 'invalid_token') !== undefined
}
