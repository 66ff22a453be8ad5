import { numberClaim, unverifiedClaims } from './claims.js'

/** What a resource server requires of the user's authentication (RFC 9470). */
export interface Demand {
  /** Acceptable authentication context classes; a stronger class is accepted too. */
  acrValues?: readonly string[] | undefined
  /** The maximum age of every factor of the class, in seconds. */
  maxAge?: number | undefined
}

/** A step-up that was sent and not answered yet. It is as secret as the tokens. */
export interface PendingStepUp extends Demand {
  clientToken: string
  subjectTokenType?: string | undefined
}

/** The tokens of a session at one moment. */
export interface Tokens {
  /** `session_id`. */
  id: string
  /** `latchkey_generation`: rises with every refresh and step-up. */
  generation: number
  /** `session_expires_at`: the latest end of the session, in Unix seconds of the server. */
  expiresAt: number
  scope: string
  accessToken: string
  /** The life of the access token in seconds, counted from `receivedAt`. */
  expiresIn: number
  /** When the request was sent, in milliseconds of this device's clock. */
  receivedAt: number
  refreshToken?: string | undefined
  sessionToken?: string | undefined
  /** The end of the client token that made this session or step-up, to recognize a repeated call. */
  proof?: string | undefined
  pending?: PendingStepUp | undefined
}

/** A session that is over. A late answer must not bring it back. */
export interface Tombstone {
  id: string
  /** When it may be forgotten, in milliseconds of this device's clock. */
  until: number
  /** Why the server ended it. Undefined: this app signed out. */
  reason?: string | undefined
}

/** A sign-out that the server has not confirmed. */
export interface Revocation {
  id: string
  token: string
  accessToken: string
  scope: 'current' | 'all'
}

/** Everything that a client keeps in its storage. */
export interface State {
  readonly session: Tokens | null
  readonly tombstones: readonly Tombstone[]
  readonly revocations: readonly Revocation[]
}

/** The state of a client that nobody has signed in to. */
export const emptyState: State = { session: null, tombstones: [], revocations: [] }

/** How many sessions that are over are remembered. */
const MAX_TOMBSTONES = 20

/** Returns the text for the storage. */
export function serialize(state: State): string {
  return JSON.stringify({ v: 1, ...state })
}

/** Reads the text of the storage. A text of another origin counts as no text. */
export function parse(text: string | null): State {
  try {
    const { v, ...state } = JSON.parse(text ?? '') as State & { v?: unknown }
    return v === 1 ? { ...emptyState, ...state } : emptyState
  } catch {
    return emptyState
  }
}

/** Returns the token that identifies the session for longest. */
export function longestLived(tokens: Tokens): string {
  return tokens.refreshToken ?? tokens.sessionToken ?? tokens.accessToken
}

/**
 * The commit guard. It reports whether the tokens of an answer may replace what is stored: of one
 * session those with the higher generation win, at equal generation those with the later `auth_time`,
 * then those that the server issued later. Into an empty storage a session is written unless it is over.
 */
export function supersedes(answer: Tokens, state: State): boolean {
  const stored = state.session
  if (stored === null) return !state.tombstones.some((t) => t.id === answer.id)
  if (stored.id !== answer.id) return false
  if (stored.generation !== answer.generation) return answer.generation > stored.generation
  const [a, s] = [unverifiedClaims(answer.accessToken), unverifiedClaims(stored.accessToken)]
  const difference = numberClaim(a, 'auth_time') - numberClaim(s, 'auth_time') || numberClaim(a, 'iat') - numberClaim(s, 'iat')
  return difference >= 0
}

/** A change of the state. It returns undefined if nothing is to be written. */
export type Change = (state: State) => State | undefined

/** A change that does nothing while another session is stored, or none. */
function ofSession(id: string, change: (session: Tokens, state: State) => State | undefined): Change {
  return (state) => (state.session?.id === id ? change(state.session, state) : undefined)
}

/** Writes the answer to a refresh. A step-up that is pending in the storage stays pending. */
export function refreshed(answer: Tokens): Change {
  return (state) => {
    if (!supersedes(answer, state)) return undefined
    const { proof, pending } = state.session ?? answer
    return { ...state, session: { ...answer, proof, pending } }
  }
}

/** Writes the answer to a step-up, which is no longer pending. */
export function steppedUp(answer: Tokens, clientToken: string): Change {
  const answered = stepUpAnswered(answer.id, clientToken)
  return (state) => {
    if (!supersedes(answer, state)) return answered(state)
    const { pending } = (answered(state) ?? state).session ?? {}
    return { ...state, session: { ...answer, pending } }
  }
}

/** Records a step-up before it is sent. */
export function stepUpSent(id: string, pending: PendingStepUp): Change {
  return ofSession(id, (session, state) => ({ ...state, session: { ...session, pending } }))
}

/** Forgets a step-up that the server has answered. */
export function stepUpAnswered(id: string, clientToken: string): Change {
  return ofSession(id, (session, state) => (session.pending?.clientToken === clientToken ? { ...state, session: { ...session, pending: undefined } } : undefined))
}

/** Writes a new session. It replaces an earlier one, which is signed out. */
export function signedIn(answer: Tokens, now: number): Change {
  return (state) => {
    const { session } = state
    if (session?.id === answer.id) return refreshed(answer)(state)
    return { ...(session ? over(state, session, now, undefined, 'current') : state), session: answer }
  }
}

/** Ends the session that the server has refused, if the storage still holds the refused token. */
export function ended(id: string, refused: string, reason: string, now: number): Change {
  return ofSession(id, (session, state) => (longestLived(session) === refused ? over(state, session, now, reason) : undefined))
}

/** Signs out, and records that the session has yet to be ended at the server. */
export function signedOut(id: string, scope: 'current' | 'all', now: number): Change {
  return ofSession(id, (session, state) => over(state, session, now, undefined, scope))
}

/** Forgets a sign-out that the server has confirmed. */
export function revoked(id: string): Change {
  return (state) =>
    state.revocations.some((r) => r.id === id) ? { ...state, revocations: state.revocations.filter((r) => r.id !== id) } : undefined
}

/** Returns the state without the session, which left a tombstone and perhaps a revocation. */
function over({ tombstones, revocations }: State, session: Tokens, now: number, reason?: string, scope?: 'current' | 'all'): State {
  const { id, accessToken } = session
  // The server's clock said iat when this device's said receivedAt: the life that is left is certain,
  // whatever the device's clock shows.
  const left = session.expiresAt - (numberClaim(unverifiedClaims(accessToken), 'iat') || session.receivedAt / 1000)
  const tombstone: Tombstone = { id, until: now + Math.max(left, 3600) * 1000, reason }
  return {
    session: null,
    tombstones: [tombstone, ...tombstones.filter((t) => t.until > now && t.id !== id)].slice(0, MAX_TOMBSTONES),
    revocations: scope ? [...revocations, { id, token: longestLived(session), accessToken, scope }] : revocations,
  }
}

/**
 * Returns how many seconds before its end an access token is replaced: a tenth of its life, between 10
 * and 60 seconds, and at most half of it. `random`, from 0 to 1, adds up to a fifth, so that tabs do
 * not refresh at the same moment.
 */
export function lead(life: number, random: number): number {
  return Math.min(Math.min(Math.max(life / 10, 10), 60) * (1 + random / 5), life / 2)
}
