import type { Claims } from '../claims.js'
import type { Signer } from './signer.js'

/** How long a verifier uses a list, in seconds. */
const LIFE = 60

/** The status list of a test issuer (draft-ietf-oauth-status-list), with one bit for each session. */
export class StatusListSource {
  readonly #uri: string
  readonly #signer: Signer
  readonly #isRevoked: (sid: string) => boolean
  readonly #indexes = new Map<string, number>()

  constructor(url: string, signer: Signer, isRevoked: (sid: string) => boolean) {
    this.#uri = `${url}/status/0`
    this.#signer = signer
    this.#isRevoked = isRevoked
  }

  /** The claim `status` of the tokens of a session. */
  entry(sid: string): Claims {
    let idx = this.#indexes.get(sid)
    if (idx === undefined) this.#indexes.set(sid, (idx = this.#indexes.size))
    return { status_list: { idx, uri: this.#uri } }
  }

  /** Signs the list. `now` is in seconds. */
  async token(now: number): Promise<string> {
    const entries = new Uint8Array(Math.ceil((this.#indexes.size + 1) / 8))
    for (const [sid, idx] of this.#indexes) {
      if (this.#isRevoked(sid)) entries[idx >> 3] = (entries[idx >> 3] ?? 0) | (1 << (idx & 7)) // index 0 is in the lowest bit
    }
    return this.#signer.sign('statuslist+jwt', {
      sub: this.#uri, iat: now, exp: now + 2 * LIFE, ttl: LIFE, status_list: { bits: 1, lst: await compress(entries) },
    })
  }
}

/** Returns bytes in the format of zlib, in base64url. */
async function compress(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream('deflate'))
  const packed = new Uint8Array(await new Response(stream).arrayBuffer())
  return btoa(String.fromCharCode(...packed)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
}
