import { compactVerify } from 'jose'
import { decodeBase64url } from './base64url.js'
import type { Key } from './key_set.js'
import { parseStrictObject } from './strict_json.js'

/** The longest token, in characters. A status list has its own limit. */
export const MAX_TOKEN = 16 << 10
const MAX_HEADER = 4 << 10
export const MAX_KID = 256

/** The algorithms that a Latchkey server signs with. */
const ALGORITHMS = ['RS256', 'ES256', 'EdDSA']

/** A parsed compact JWS whose signature was not verified. */
export interface CompactJws {
  algorithm: string
  kid: string
  typ: string
  claims: Record<string, unknown>
  text: string
}

/**
 * Parses a compact JWS strictly, before any library does: three parts of canonical base64url, JSON without
 * duplicate members, no critical extensions (RFC 7515 §4, RFC 8725 §3). Members that could select a key
 * (jku, jwk, x5u, x5c) are ignored.
 */
export function parseCompact(text: string): CompactJws {
  const parts = text.split('.', 4)
  if (parts.length !== 3) throw new Error('not a compact JWS')
  const [headerBytes, claimsBytes] = parts.map(decodeBase64url) as [Uint8Array, Uint8Array, Uint8Array]
  if (headerBytes.length > MAX_HEADER) throw new Error(`the JWS header is longer than ${MAX_HEADER} bytes`)
  const header = parseStrictObject(headerBytes)
  for (const name of ['crit', 'b64', 'zip', 'enc']) {
    if (Object.hasOwn(header, name)) throw new Error(`the JWS header has ${name}, which is not supported`)
  }
  const { alg, kid, typ = '' } = header
  if (typeof kid !== 'string' || kid === '' || new TextEncoder().encode(kid).length > MAX_KID) throw new Error(`the JWS header has no kid of 1 to ${MAX_KID} bytes`)
  if (typeof alg !== 'string' || !ALGORITHMS.includes(alg)) throw new Error('the JWS header has an unsupported alg: expected RS256, ES256 or EdDSA')
  if (typeof typ !== 'string') throw new Error('the header is malformed')
  return { algorithm: alg, kid, typ, claims: parseStrictObject(claimsBytes), text }
}

/** Reports whether the header's `typ` is the media type application/{type} (RFC 7515 §4.1.9). */
export function isType(jws: CompactJws, type: string): boolean {
  const typ = jws.typ.toLowerCase()
  return typ === type || typ === `application/${type}`
}

/** Checks the signature with a key. */
export async function verifySignature(jws: CompactJws, key: Key): Promise<void> {
  if (key.algorithm !== jws.algorithm) throw new Error(`alg ${jws.algorithm} does not match the key, which is for ${key.algorithm}`)
  try {
    await compactVerify(jws.text, key.public, { algorithms: ALGORITHMS })
  } catch {
    throw new Error('invalid signature')
  }
}
