import { numberClaim, textOf, textsOf, unverifiedClaims, type Claims } from './claims.js'
import type { State, Tokens } from './state.js'

/** The signed-in session, as the latest access token describes it. It contains no token. */
export interface Session {
  /** `sid`. It is not a secret, and grants no access. */
  readonly id: string
  readonly user: {
    /** `sub`. */
    readonly id: string
  }
  /** Every claim of the access token. */
  readonly claims: Claims
  /** The latest end of the session. */
  readonly expiresAt: Date
  /** The authentication context class. Undefined: unknown. */
  readonly acr: string | undefined
  /** The authentication methods (RFC 8176). */
  readonly amr: readonly string[]
  /** When `acr` was last proved in full. Undefined: unknown. */
  readonly authTime: Date | undefined
}

/** Returns what an app may see of the tokens. Without tokens in this process, a back end reports the claims. */
export function describe(tokens: Pick<Tokens, 'id' | 'expiresAt' | 'accessToken'>, claims: Claims = unverifiedClaims(tokens.accessToken)): Session {
  const authTime = numberClaim(claims, 'auth_time')
  return Object.freeze({
    id: tokens.id,
    user: Object.freeze({ id: textOf(claims['sub']) ?? '' }),
    claims: Object.freeze(claims),
    expiresAt: new Date(tokens.expiresAt * 1000),
    acr: textOf(claims['acr']),
    amr: textsOf(claims['amr']),
    authTime: authTime ? new Date(authTime * 1000) : undefined,
  })
}

/** What happened to the session, in this tab or in another. */
export type SessionEvent = 'signed-in' | 'refreshed' | 'stepped-up' | 'signed-out' | 'ended'

/** A change of the session. */
export interface SessionChange {
  readonly event: SessionEvent
  /** The session from now on. */
  readonly session: Session | null
  /** With `ended`: why the server ended the session, such as `revoked_by_user`. */
  readonly reason?: string | undefined
}

/** Returns what has happened between two states, if it concerns the session. */
export function difference(before: State, after: State): { event: SessionEvent; reason?: string | undefined } | undefined {
  const [b, a] = [before.session, after.session]
  if (!a) {
    const reason = after.tombstones.find((t) => t.id === b?.id)?.reason
    return b ? { event: reason === undefined ? 'signed-out' : 'ended', reason } : undefined
  }
  if (a.id !== b?.id) return { event: 'signed-in' }
  if (a.accessToken === b.accessToken) return undefined
  const [to, from] = [unverifiedClaims(a.accessToken), unverifiedClaims(b.accessToken)]
  const steppedUp = to['acr'] !== from['acr'] || numberClaim(to, 'auth_time') > numberClaim(from, 'auth_time')
  return { event: steppedUp ? 'stepped-up' : 'refreshed' }
}

/** A session of the signed-in user, for a list of devices. Users choose some texts: escape them. */
export interface SessionInfo {
  readonly id: string
  readonly clientId: string
  /** Reports whether this is the session of this app. */
  readonly current: boolean
  readonly createdAt: Date
  /** Rounded to the minute. */
  readonly lastActiveAt: Date
  readonly expiresAt: Date
  readonly acr: string | undefined
  readonly amr: readonly string[]
  readonly device: { readonly name: string; readonly userAgent: string; readonly ip: string }
}

/** Reads an item of the session API. */
export function sessionInfo(item: Readonly<Record<string, unknown>>): SessionInfo {
  const text = (value: unknown) => textOf(value) ?? ''
  const date = (value: unknown) => new Date(Number(value) * 1000)
  const device = (item['device'] ?? {}) as Record<string, unknown>
  return {
    id: text(item['id']),
    clientId: text(item['client_id']),
    current: item['current'] === true,
    createdAt: date(item['created_at']),
    lastActiveAt: date(item['last_active_at']),
    expiresAt: date(item['expires_at']),
    acr: textOf(item['acr']),
    amr: textsOf(item['amr']),
    device: { name: text(device['name']), userAgent: text(device['user_agent']), ip: text(device['ip']) },
  }
}
