import { LatchkeyError } from '../error.js'
import type { AccessToken } from './access_token.js'

/** The requirements of one handler, combined. */
export interface Requirements {
  scopes: readonly string[]
  /** Any of these; undefined: no class is required. */
  acr?: readonly string[]
  /** In seconds; undefined: no age is required. */
  maxAge?: number
}

/**
 * What a handler requires of a valid access token: see {@link requireScope}, {@link requireAcr} and
 * {@link maxAge}. All requirements must be met. Of several `requireAcr` the last one applies, of several
 * `maxAge` the shortest.
 */
export type Requirement = (need: Requirements) => Requirements

/** Requires all of these scopes (RFC 6750 §3.1). */
export function requireScope(...scopes: string[]): Requirement {
  checkTokens('requireScope', scopes)
  return (need) => ({ ...need, scopes: [...need.scopes, ...scopes] })
}

/**
 * Requires that the session has reached one of these authentication context classes, however long ago. List
 * the preferred class first (RFC 9470 §3). Classes are compared as strings: list every class that is strong
 * enough.
 *
 * With {@link maxAge}, one of the classes must have been proved in full within that time: all of its factors
 * are recent enough. A passkey used yesterday and a password entered now do not count as a passkey used now.
 */
export function requireAcr(...accepted: string[]): Requirement {
  if (accepted.length === 0) throw new LatchkeyError('invalid_option', 'requireAcr: at least one class is required')
  checkTokens('requireAcr', accepted)
  return (need) => ({ ...need, acr: accepted })
}

/**
 * Requires that the user authenticated at most this many seconds ago (RFC 9470 §3). A refresh does not count
 * as authentication. Without {@link requireAcr} any class is accepted, even a password alone; with it, the
 * time is that of one of its classes.
 */
export function maxAge(seconds: number): Requirement {
  if (!(seconds >= 0)) throw new LatchkeyError('invalid_option', 'maxAge: the age must not be negative')
  return (need) => ({ ...need, maxAge: Math.min(Math.trunc(seconds), need.maxAge ?? Infinity) })
}

/** Combines requirements. */
export function combine(list: readonly Requirement[]): Requirements {
  return list.reduce<Requirements>((need, add) => add(need), { scopes: [] })
}

/** Reports whether the token lacks a required scope. */
export function lacksScope(need: Requirements, t: AccessToken): boolean {
  return need.scopes.some((scope) => !t.scopes.includes(scope))
}

/**
 * Reports whether the user has to re-authenticate or use another factor. A token that does not contain the
 * class or the time does not meet a requirement on it (RFC 9470 §6). `now` and `tolerance` are in milliseconds.
 */
export function lacksAuthentication({ acr, maxAge }: Requirements, t: AccessToken, now: number, tolerance: number): boolean {
  const isRecent = (at: Date | undefined) => {
    if (maxAge === undefined) return true
    const age = now - (at?.getTime() ?? -Infinity)
    return age <= maxAge * 1000 + tolerance && age >= -tolerance
  }
  if (!acr && isRecent(t.authTime)) return false
  if (acr && maxAge === undefined && t.acr !== undefined && acr.includes(t.acr)) return false
  return ![...t.acrTimes].some(([name, at]) => (!acr || acr.includes(name)) && isRecent(at))
}

/** Reports whether a text needs no escaping in a quoted parameter of a challenge (RFC 6750 §3). */
export function isQuotable(text: string): boolean {
  return /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/.test(text)
}

/** Reports whether a text can be an element of a space-separated list, such as a scope (RFC 6749 §3.3). */
export function isScopeToken(text: string): boolean {
  return /^[\x21\x23-\x5b\x5d-\x7e]+$/.test(text)
}

function checkTokens(where: string, values: readonly string[]): void {
  const bad = values.find((value) => !isScopeToken(value))
  if (bad !== undefined) throw new LatchkeyError('invalid_option', `${where}: invalid value ${JSON.stringify(bad)}`)
}
