import type { Claims } from '../claims.js'
import { acrTimes, selectClass } from './assurance.js'

/** How long a used refresh token yields the same successor again, in seconds. */
export const RETRY_WINDOW = 10
/** The lives of access tokens and of sessions, in seconds. */
export const [ACCESS_TOKEN_LIFETIME, SESSION_LIFETIME] = [300, 24 * 3600]

/** A refusal of a request: an OAuth error code, a reason, and why the session ended. */
export interface Refusal {
  error: string
  latchkey_reason?: string
  latchkey_end_reason?: string | undefined
}

/** A session of a test issuer. Times are in seconds. */
export class TestSession {
  readonly id = crypto.randomUUID()
  readonly subject: string
  readonly clientId: string
  readonly audience: string[]
  readonly scope: string
  readonly deviceName: string
  readonly createdAt: number
  readonly expiresAt: number
  activeAt: number
  endReason: string | undefined
  refreshToken = newRefreshToken()
  generation = 0
  /** Refresh tokens that were used, the last one first, and when that was. */
  #used: string[] = []
  #usedAt = 0
  /** The generation whose predecessor was accepted after the retry window. */
  #late = 0
  /** Refresh tokens that a step-up has replaced. */
  readonly #superseded = new Set<string>()
  /** When each method (`amr`) was proved last. */
  readonly #proofs = new Map<string, number>()

  constructor(of: { subject: string; clientId: string; audience: string[]; scope: string; deviceName: string; now: number }) {
    this.subject = of.subject
    this.clientId = of.clientId
    this.audience = of.audience
    this.scope = of.scope
    this.deviceName = of.deviceName
    this.createdAt = this.activeAt = of.now
    this.expiresAt = of.now + SESSION_LIFETIME
  }

  isLive(now: number): boolean {
    return this.endReason === undefined && now < this.expiresAt
  }

  /** Reports whether a refresh token is or was one of this session. */
  owns(token: string): boolean {
    return token === this.refreshToken || this.#used.includes(token) || this.#superseded.has(token)
  }

  /**
   * Uses a refresh token. The last used one yields the same successor again: within the retry window, and once
   * in nine refreshes after it. One that was used before it ends the session, unless it is a delayed duplicate.
   */
  rotate(token: string, now: number): Refusal | undefined {
    if (!this.isLive(now)) return this.over()
    if (this.#superseded.has(token)) return { error: 'invalid_grant', latchkey_reason: 'refresh_superseded' }
    if (token === this.refreshToken) {
      this.#used.unshift(token)
      this.#usedAt = now
      this.#replace()
      return undefined
    }
    const [ahead, isRecent] = [this.#used.indexOf(token) + 1, now - this.#usedAt < RETRY_WINDOW]
    if (ahead === 1 && (isRecent || this.#retryLate())) return undefined
    if (ahead === 2 && isRecent) return { error: 'invalid_grant', latchkey_reason: 'refresh_superseded' }
    this.endReason = 'reuse_detected'
    return { error: 'invalid_grant', latchkey_reason: 'refresh_reused', latchkey_end_reason: this.endReason }
  }

  #retryLate(): boolean {
    if (this.#late !== 0 && this.#late !== this.generation && this.generation - this.#late <= 8) return false
    this.#late = this.generation
    return true
  }

  #replace(): void {
    this.refreshToken = newRefreshToken()
    this.generation++
  }

  over(): Refusal {
    return { error: 'invalid_grant', latchkey_reason: 'session_ended', latchkey_end_reason: this.endReason ?? 'absolute' }
  }

  /** Adds proofs of the user, and replaces the refresh token if this is a step-up. */
  prove(amr: readonly string[], now: number, isStepUp: boolean): void {
    for (const method of amr) this.#proofs.set(method, now)
    if (!isStepUp) return
    for (const token of [this.refreshToken, ...this.#used.splice(0)]) this.#superseded.add(token)
    this.#replace()
  }

  /** Reports whether the session meets a demand of `acr_values` and `max_age`, together with proofs of now. */
  satisfies(form: URLSearchParams, now: number, amr: readonly string[] = []): boolean {
    const proofs = new Map([...this.#proofs, ...amr.map((method) => [method, now] as const)])
    return selectClass(proofs, form.get('acr_values'), form.get('max_age'), now) !== null
  }

  /** The claims about the user, and about the strongest class that meets the demand of a request. */
  claims(form = new URLSearchParams(), now = this.activeAt): Claims {
    const [acr, authTime] = selectClass(this.#proofs, form.get('acr_values'), form.get('max_age'), now) ?? [undefined, this.createdAt]
    return {
      sub: this.subject, client_id: this.clientId, sid: this.id, scope: this.scope,
      auth_time: authTime, amr: [...this.#proofs.keys()], acr_times: Object.fromEntries(acrTimes(this.#proofs)), ...(acr && { acr }),
    }
  }

  /** The item of the session API. */
  describe(current: boolean): Record<string, unknown> {
    const { acr, amr } = this.claims()
    return {
      id: this.id, sub: this.subject, client_id: this.clientId, status: 'active', current, created_at: this.createdAt, last_active_at: this.activeAt,
      expires_at: this.expiresAt, acr: acr ?? '', amr, device: { name: this.deviceName, user_agent: '', ip: '127.0.0.1' },
    }
  }
}

function newRefreshToken(): string {
  return `lk_rt_${crypto.randomUUID()}`
}
