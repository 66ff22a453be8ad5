import { CompactEncrypt, compactDecrypt } from 'jose'
import { LatchkeyError } from '../error.js'

/** The name of a header member with the purpose of a sealed text. */
const PURPOSE = 'use_as'

/** Encrypts texts as JWE (RFC 7516) with the algorithm `dir` and A256GCM. The first key encrypts; all keys decrypt. */
export class Sealer {
  readonly #keys: readonly Uint8Array[]

  /** Each key is 32 bytes in base64 or base64url, as `openssl rand -base64 32` prints them. */
  constructor(keys: string | readonly string[]) {
    this.#keys = [keys].flat().map(readKey)
    if (this.#keys.length === 0) throw new LatchkeyError('invalid_option', 'keys: at least one key is required')
  }

  /** Encrypts a text. The purpose is authenticated: a text that was sealed for one cannot be used for another. */
  async seal(text: string, purpose: string): Promise<string> {
    const [key] = this.#keys as [Uint8Array]
    return new CompactEncrypt(new TextEncoder().encode(text)).setProtectedHeader({ alg: 'dir', enc: 'A256GCM', [PURPOSE]: purpose }).encrypt(key)
  }

  /** Returns the text, or undefined if none of the keys has sealed it for this purpose. */
  async open(sealed: string, purpose: string): Promise<string | undefined> {
    for (const key of this.#keys) {
      try {
        const { plaintext, protectedHeader } = await compactDecrypt(sealed, key, { keyManagementAlgorithms: ['dir'], contentEncryptionAlgorithms: ['A256GCM'] })
        if (protectedHeader[PURPOSE] === purpose) return new TextDecoder().decode(plaintext)
      } catch {
        // Another key may have sealed it.
      }
    }
    return undefined
  }
}

function readKey(key: string, i: number): Uint8Array {
  const text = key.trim().replace(/-/g, '+').replace(/_/g, '/').replace(/=+$/, '')
  if (/^[A-Za-z0-9+/]{43}$/.test(text)) return Uint8Array.from(atob(text), (c) => c.charCodeAt(0))
  throw new LatchkeyError('invalid_option', `keys[${i}] is not a key: expected 32 random bytes in base64, as openssl rand -base64 32 prints them`)
}
