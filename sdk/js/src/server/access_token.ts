import type { Claims } from '../claims.js'
import type { Key } from './key_set.js'

/** An access token that was valid when it was verified. It may be shared with other callers: do not modify it. */
export interface AccessToken {
  /** `iss`. */
  readonly issuer: string
  /** `sub`: together with `issuer` it identifies the user, or the client if there is no user. */
  readonly subject: string
  /** `client_id`: the client that the token was issued to. */
  readonly clientId: string
  /** `sid`. Undefined: the token has no session. */
  readonly sessionId: string | undefined
  /** `jti`. */
  readonly id: string
  /** `aud`. */
  readonly audience: readonly string[]
  /** `scope`. */
  readonly scopes: readonly string[]
  /** `iat`. */
  readonly issuedAt: Date
  /** `exp`. */
  readonly expiresAt: Date
  /** `auth_time`: when `acr` was last proved in full. Undefined: unknown. */
  readonly authTime: Date | undefined
  /** `acr`. Undefined: unknown. */
  readonly acr: string | undefined
  /** `amr` (RFC 8176). */
  readonly amr: readonly string[]
  /** `acr_times`: each class that the session has reached, and when it was last proved in full. */
  readonly acrTimes: ReadonlyMap<string, Date>
  /** Every claim. */
  readonly claims: Claims
}

/** A token with what only the verifier needs. Times are in seconds. */
export interface Verified extends AccessToken {
  iat: number
  exp: number
  nbf: number
  status: { index: number; uri: string } | undefined
  key: Key
  /** When introspection was last asked and reported the token active, in milliseconds; -Infinity: never. */
  confirmedActive: number
}

const MAX_DATE = 2 ** 40

/** Reads the claims of an access token (RFC 9068 §2.2). It throws an Error that names a claim. */
export function readClaims(claims: Claims): Omit<Verified, 'key'> {
  const read = <T>(name: string, isValid: (value: unknown) => value is T): T | undefined => {
    if (!Object.hasOwn(claims, name)) return undefined
    const value = claims[name]
    if (!isValid(value)) throw new Error(`${name} is malformed`)
    return value
  }
  const need = <T>(name: string, isValid: (value: unknown) => value is T): T => {
    const value = read(name, isValid)
    if (value === undefined) throw new Error(`${name} is missing`)
    return value
  }
  const [issuer, subject, clientId, id] = [need('iss', isText), need('sub', isText), need('client_id', isText), need('jti', isText)]
  if (subject === '' || clientId === '' || id === '') throw new Error('sub, client_id or jti is empty')
  const [aud, exp, iat] = [need('aud', isAudience), need('exp', isDate), need('iat', isDate)]
  const [nbf, authTime, sid] = [read('nbf', isDate), read('auth_time', isDate), read('sid', isText)]
  const [scope, acr, amr, times] = [read('scope', isText), read('acr', isText), read('amr', isTexts), read('acr_times', isDates)]
  return {
    issuer, subject, clientId, id, claims, iat, exp,
    nbf: nbf ?? 0,
    sessionId: sid === '' ? undefined : sid,
    audience: typeof aud === 'string' ? [aud] : aud,
    scopes: scope?.split(' ').filter(Boolean) ?? [], // only spaces separate (RFC 6749 §3.3)
    issuedAt: new Date(iat * 1000),
    expiresAt: new Date(exp * 1000),
    authTime: authTime === undefined ? undefined : new Date(authTime * 1000),
    acr: acr === '' ? undefined : acr,
    amr: amr ?? [],
    acrTimes: new Map(Object.entries(times ?? {}).map(([name, at]) => [name, new Date(at * 1000)])),
    status: readStatus(read('status', isObject)),
    confirmedActive: -Infinity,
  }
}

/** Reads where the status of a token is (Token Status List §6.1). */
function readStatus(status: Record<string, unknown> | undefined): Verified['status'] {
  const list = status?.['status_list']
  if (list === undefined || list === null) return undefined // a mechanism that the SDK does not support
  const { idx, uri = '' } = isObject(list) ? list : {}
  if (typeof idx !== 'number' || !Number.isSafeInteger(idx) || idx < 0 || typeof uri !== 'string') throw new Error('status is malformed')
  return { index: idx, uri }
}

function isText(value: unknown): value is string {
  return typeof value === 'string'
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every(isText)
}

function isAudience(value: unknown): value is string | string[] {
  return isText(value) || isTexts(value)
}

function isDate(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value <= MAX_DATE
}

function isDates(value: unknown): value is Record<string, number> {
  return isObject(value) && Object.values(value).every(isDate)
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
