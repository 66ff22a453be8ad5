import { isObject, type Verified } from './access_token.js'

/**
 * An entry of the feed. It revokes one session, one token without a session, or everything that was issued
 * before a moment to a client, for a user, or on the word of a trusted issuer.
 */
export interface RevokedEntry {
  sid?: string
  jti?: string
  client_id?: string
  issuer?: string
  sub?: string
  before?: number
  /** When the last token that it revokes has expired. */
  until: number
}

/** Revokes tokens that were issued before a moment. */
interface Bound {
  before: number
  until: number
  /** When this verifier learned of the bound, in milliseconds. */
  learned: number
}

/** Reads an entry. It throws an Error for one that would be removed at once. */
export function readEntry(value: unknown): RevokedEntry {
  if (!isObject(value)) throw new Error('an entry is malformed')
  for (const name of ['sid', 'jti', 'client_id', 'issuer', 'sub']) {
    if (value[name] !== undefined && typeof value[name] !== 'string') throw new Error(`${name} of an entry is malformed`)
  }
  for (const name of ['before', 'until']) {
    if (value[name] !== undefined && !Number.isSafeInteger(value[name])) throw new Error(`${name} of an entry is malformed`)
  }
  if (!((value['until'] as number) > 0)) throw new Error('an entry has no until')
  return value as unknown as RevokedEntry
}

/**
 * The revocations of the feed. Entries stay until they expire, because a snapshot after an interruption
 * contains only newer ones.
 */
export class RevokedSet {
  readonly #sessions = new Map<string, number>()
  readonly #tokens = new Map<string, number>()
  readonly #clients = new Map<string, Bound>()
  readonly #subjects = new Map<string, Bound>()
  /** By trusted issuer: no claim of a token names it. */
  readonly #unmatched = new Map<string, Bound>()

  get size(): number {
    return this.#sessions.size + this.#tokens.size + this.#clients.size + this.#subjects.size + this.#unmatched.size
  }

  /** Adds an entry. Repeated entries are harmless. */
  add(e: RevokedEntry, now: number): void {
    if (e.sid) lengthen(this.#sessions, e.sid, e.until)
    else if (e.jti) lengthen(this.#tokens, e.jti, e.until)
    else if (e.sub) widen(this.#subjects, e.sub, e, now)
    else if (e.client_id) widen(this.#clients, e.client_id, e, now)
    else widen(this.#unmatched, e.issuer ?? '', e, now) // or of a kind that only newer servers know: it may affect any token
  }

  /** Reports whether an entry matches a claim of the token. */
  revokes(t: Verified): boolean {
    const iat = Math.floor(t.iat)
    return (
      (t.sessionId !== undefined && this.#sessions.has(t.sessionId)) ||
      this.#tokens.has(t.id) ||
      iat < (this.#subjects.get(t.subject)?.before ?? 0) ||
      iat < (this.#clients.get(t.clientId)?.before ?? 0)
    )
  }

  /**
   * Returns when the newest entry arrived that may affect the token although no claim matches it. It
   * returns undefined if no entry may.
   */
  mayRevoke(t: Verified): number | undefined {
    let since: number | undefined
    for (const b of this.#unmatched.values()) {
      if (Math.floor(t.iat) < b.before) since = Math.max(since ?? -Infinity, b.learned)
    }
    return since
  }

  /** Removes entries that have expired. */
  prune(now: number): void {
    const seconds = Math.floor(now / 1000)
    for (const map of [this.#sessions, this.#tokens]) for (const [key, until] of map) if (seconds >= until) map.delete(key)
    for (const map of [this.#clients, this.#subjects, this.#unmatched]) for (const [key, { until }] of map) if (seconds >= until) map.delete(key)
  }
}

function lengthen(map: Map<string, number>, key: string, until: number): void {
  map.set(key, Math.max(map.get(key) ?? 0, until))
}

function widen(map: Map<string, Bound>, key: string, e: RevokedEntry, now: number): void {
  const b = map.get(key) ?? { before: 0, until: 0, learned: 0 }
  const grows = (e.before ?? 0) > b.before
  map.set(key, { before: grows ? (e.before ?? 0) : b.before, learned: grows ? now : b.learned, until: Math.max(b.until, e.until) })
}
