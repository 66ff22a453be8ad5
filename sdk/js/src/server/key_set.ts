import { importJWK, type CryptoKey, type JWK } from 'jose'
import { decodeBase64url } from './base64url.js'
import { MAX_KID } from './jws.js'

const MAX_KEYS = 100

/** A public key of the issuer. The same object means the same key, also after the key set was fetched again. */
export interface Key {
  kid: string
  algorithm: string
  public: CryptoKey | Uint8Array
  /** The members that make the key, to compare keys. */
  text: string
}

/** The issuer's keys by `kid`. */
export type KeySet = Map<string, Key>

/**
 * Returns the public signature keys of a key set. Keys of other kinds are ignored (RFC 7517 §5). Keys that
 * `before` has are taken from there.
 */
export async function parseKeySet(text: string, before?: KeySet): Promise<KeySet> {
  let list: unknown
  try {
    list = (JSON.parse(text) as { keys?: unknown } | null)?.keys
  } catch {
    // Handled below.
  }
  if (!Array.isArray(list)) throw new Error('not a JSON Web Key Set')
  if (list.length > MAX_KEYS) throw new Error(`more than ${MAX_KEYS} keys`)
  const keys: KeySet = new Map()
  for (const jwk of list as JWK[]) {
    const key = await parseKey(jwk)
    if (!key) continue
    if (keys.has(key.kid)) throw new Error(`two keys have the kid ${JSON.stringify(key.kid)}`)
    const known = before?.get(key.kid)
    keys.set(key.kid, known?.text === key.text ? known : key)
  }
  if (keys.size === 0) throw new Error('no usable key: expected RSA of 2048 to 8192 bits, P-256 or Ed25519, with a kid and for signatures')
  return keys
}

async function parseKey(jwk: JWK): Promise<Key | undefined> {
  try {
    const { kid, use, kty, crv, n, e, x, y, alg } = jwk
    if (typeof kid !== 'string' || kid === '' || new TextEncoder().encode(kid).length > MAX_KID || (use !== undefined && use !== 'sig')) return undefined
    const algorithm = algorithmOf(jwk)
    if (!algorithm || (alg !== undefined && (alg === 'Ed25519' ? 'EdDSA' : alg) !== algorithm)) return undefined
    const material: JWK = Object.fromEntries(Object.entries({ kty, crv, n, e, x, y }).filter(([, value]) => value !== undefined))
    return { kid, algorithm, public: await importJWK(material, algorithm), text: JSON.stringify({ kid, algorithm, ...material }) }
  } catch {
    return undefined
  }
}

function algorithmOf({ kty, crv, n }: JWK): string | undefined {
  switch (kty) {
    case 'RSA': {
      const bytes = decodeBase64url(n ?? '')
      const bits = bytes.length * 8 - Math.clz32(bytes[0] ?? 0) + 24
      return bits >= 2048 && bits <= 8192 ? 'RS256' : undefined // a larger key would make each verification slow
    }
    case 'EC':
      return crv === 'P-256' ? 'ES256' : undefined
    case 'OKP':
      return crv === 'Ed25519' ? 'EdDSA' : undefined
    default:
      return undefined
  }
}
