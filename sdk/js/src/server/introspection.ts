import { unavailable } from '../error.js'
import { isObject, type Verified } from './access_token.js'
import { basic, invalidToken, type Issuer } from './issuer.js'

const MAX_RESPONSE = 64 << 10

/** Asks the issuer whether tokens are active (RFC 7662). */
export class Introspector {
  readonly #issuer: Issuer
  readonly #authorization: string
  readonly #audience: string
  /** How long a positive answer is used, in milliseconds. */
  readonly #cacheFor: number
  readonly #log: (message: string) => void

  constructor(issuer: Issuer, clientId: string, clientSecret: string, audience: string, cacheFor: number, log: (message: string) => void) {
    this.#issuer = issuer
    this.#authorization = basic(clientId, clientSecret)
    this.#audience = audience
    this.#cacheFor = cacheFor * 1000
    this.#log = log
  }

  /** Checks a token, perhaps by an earlier answer. */
  async check(t: Verified, text: string, now: number): Promise<void> {
    const age = now - t.confirmedActive
    if (!(age >= 0 && age < this.#cacheFor)) await this.introspect(t, text, now)
  }

  /** Asks the issuer regardless of earlier answers, and remembers when the token was last active. */
  async introspect(t: Verified, text: string, now: number): Promise<void> {
    const answer = await this.#request(text)
    if (answer['active'] !== true) throw invalidToken('introspection reports it inactive')
    if (!this.#describes(answer, t)) throw unavailable('the introspection response describes another token')
    if (!confirmsAcrTimes(answer, t)) throw invalidToken('the issuer no longer confirms a class in its acr_times: refresh the token')
    t.confirmedActive = now
  }

  #describes(answer: Record<string, unknown>, t: Verified): boolean {
    const said = { iss: t.issuer, sub: t.subject, client_id: t.clientId, jti: t.id, sid: t.sessionId }
    return Object.entries(said).every(([name, want]) => answer[name] === want) && [answer['aud']].flat().includes(this.#audience)
  }

  async #request(token: string): Promise<Record<string, unknown>> {
    const to = await this.#issuer.endpoint('introspection_endpoint')
    const init = {
      method: 'POST',
      headers: { accept: 'application/json', authorization: this.#authorization },
      body: new URLSearchParams({ token, token_type_hint: 'access_token' }),
    }
    return this.#issuer.request(to, init, async (response) => {
      const { status } = response
      if (status === 401 || status === 403) this.#log('introspection failed: the issuer rejected clientId and clientSecret')
      if (status !== 200) throw unavailable(`unexpected response from introspection: status ${status}`, { status })
      const text = await response.text()
      const answer: unknown = text.length > MAX_RESPONSE ? undefined : JSON.parse(text)
      if (!isObject(answer)) throw unavailable('unexpected response from introspection')
      return answer
    })
  }
}

/**
 * Reports whether the issuer still confirms every class in the token's acr_times. It does not if a trusted
 * issuer that vouched for the user was disabled in the meantime.
 */
function confirmsAcrTimes(answer: Record<string, unknown>, t: Verified): boolean {
  const times = answer['acr_times']
  for (const [name, at] of t.acrTimes) {
    const said = isObject(times) ? times[name] : undefined
    if (typeof said !== 'number' || said * 1000 < at.getTime()) return false
  }
  return true
}
