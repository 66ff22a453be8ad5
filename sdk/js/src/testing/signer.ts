import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK } from 'jose'
import type { Claims } from '../claims.js'

/** The signature algorithms of a test issuer. */
export type Algorithm = 'ES256' | 'RS256'

/** Signs tokens with real keys. The last key signs, and all keys are published. */
export class Signer {
  readonly #algorithm: Algorithm
  #keys: { private: CryptoKey; jwk: JWK & { kid: string } }[] = []
  readonly #signed = new Set<string>()
  #made = 0

  constructor(algorithm: Algorithm) {
    this.#algorithm = algorithm
  }

  /** Adds a key, which signs from then on. */
  async rotate(): Promise<void> {
    const { privateKey, publicKey } = await generateKeyPair(this.#algorithm)
    const jwk = { ...(await exportJWK(publicKey)), kid: `key-${++this.#made}`, use: 'sig', alg: this.#algorithm }
    this.#keys.push({ private: privateKey, jwk })
  }

  removeOldKeys(): void {
    this.#keys = this.#keys.slice(-1)
  }

  keySet(): { keys: JWK[] } {
    return { keys: this.#keys.map(({ jwk }) => jwk) }
  }

  async sign(typ: string, claims: Claims): Promise<string> {
    const key = this.#keys.at(-1)
    if (!key) throw new Error('the issuer has no key')
    const token = await new SignJWT({ ...claims }).setProtectedHeader({ alg: this.#algorithm, typ, kid: key.jwk.kid }).sign(key.private)
    this.#signed.add(token)
    return token
  }

  /** Reports whether a token is one that `sign` returned. */
  hasSigned(token: string): boolean {
    return this.#signed.has(token)
  }
}
