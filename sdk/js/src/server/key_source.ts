import { unavailable } from '../error.js'
import { Cached, type Document } from './cached.js'
import { invalidToken, type Issuer } from './issuer.js'
import { parseKeySet, type Key, type KeySet } from './key_set.js'

const MAX_KEY_SET = 512 << 10
const DEFAULT_KEY_LIFE = 300
/** Bounds of the max-age of Cache-Control, in seconds. */
const [MIN_KEY_LIFE, MAX_KEY_LIFE] = [30, 3600]
/** How much longer keys are used while the issuer does not respond, in milliseconds. */
const LAST_GOOD_LIFE = 3600_000
/** The least age of a key set at which an unknown kid causes a fetch: anyone can invent unknown kids. */
const UNKNOWN_KID_PAUSE = 30_000

/** Provides the issuer's keys. */
export class KeySource {
  readonly issuer: Issuer
  readonly set: Cached<KeySet>

  constructor(issuer: Issuer) {
    this.issuer = issuer
    this.set = new Cached(() => issuer.clock.now(), (before) => this.#download(before))
  }

  /** Returns the issuer's key with an id. It throws `invalid_token` if the issuer has no such key. */
  async key(kid: string): Promise<Key> {
    let document = await this.set.get()
    let key = document.value.get(kid)
    if (key) return key
    const age = this.issuer.clock.now() - document.requestedAt
    if (age < 0 || age >= UNKNOWN_KID_PAUSE) {
      document = await this.set.refresh()
      key = document.value.get(kid)
      if (key) return key
    }
    throw invalidToken('kid names no key of the issuer')
  }

  async #download(before: Document<KeySet> | undefined): Promise<Document<KeySet>> {
    const from = await this.issuer.endpoint('jwks_uri')
    const requestedAt = this.issuer.clock.now()
    const { text, headers } = await this.issuer.get(from, 'application/jwk-set+json, application/json', MAX_KEY_SET)
    let value: KeySet
    try {
      value = await parseKeySet(text, before?.value)
    } catch (cause) {
      throw unavailable(`invalid key set at ${from}: ${(cause as Error).message}`, { cause })
    }
    const freshUntil = requestedAt + keyLife(headers) * 1000
    return { value, requestedAt, freshUntil, usableUntil: freshUntil + LAST_GOOD_LIFE }
  }
}

/** Returns the max-age of Cache-Control (RFC 9111 §5.2.2.1), within bounds. */
function keyLife(headers: Headers): number {
  const age = /(?:^|,)\s*max-age="?(\d{1,9})"?\s*(?:,|$)/i.exec(headers.get('cache-control') ?? '')?.[1]
  return age === undefined ? DEFAULT_KEY_LIFE : Math.min(Math.max(Number(age), MIN_KEY_LIFE), MAX_KEY_LIFE)
}
