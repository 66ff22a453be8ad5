import { LatchkeyError, unavailable } from '../error.js'
import { isObject, type Verified } from './access_token.js'
import { decodeBase64url } from './base64url.js'
import { Cached, type Document } from './cached.js'
import { invalidToken } from './issuer.js'
import { isType, parseCompact, verifySignature } from './jws.js'
import type { KeySource } from './key_source.js'

/** Bounds the size of a status list, compressed and decompressed. */
const MAX_STATUS_LIST = 8 << 20
/** Bounds of the ttl of a list, in seconds. */
const [MIN_LIFE, MAX_LIFE, DEFAULT_LIFE] = [5, 3600, 60]
const TYP = 'statuslist+jwt'

/** A decompressed Token Status List (draft-ietf-oauth-status-list §4). */
export class StatusList {
  readonly #bits: number
  readonly #entries: Uint8Array

  private constructor(bits: number, entries: Uint8Array) {
    this.#bits = bits
    this.#entries = entries
  }

  /** Decodes `bits` and `lst` (§4.2). A short text may decompress to a huge list. */
  static async inflate(bits: unknown, text: unknown): Promise<StatusList> {
    if (bits !== 1 && bits !== 2 && bits !== 4 && bits !== 8) throw new Error('bits must be 1, 2, 4 or 8')
    if (typeof text !== 'string') throw new Error('lst is malformed')
    const stream = new Blob([decodeBase64url(text)]).stream().pipeThrough(new DecompressionStream('deflate'))
    const pieces: Uint8Array[] = []
    let size = 0
    for await (const piece of stream as unknown as AsyncIterable<Uint8Array>) {
      size += piece.length
      if (size > MAX_STATUS_LIST) throw new Error(`lst is longer than ${MAX_STATUS_LIST} bytes`)
      pieces.push(piece)
    }
    const entries = new Uint8Array(size)
    let at = 0
    for (const piece of pieces) {
      entries.set(piece, at)
      at += piece.length
    }
    return new StatusList(bits, entries)
  }

  /** Returns the status at an index, or undefined if the list has no such index. */
  at(index: number): number | undefined {
    const each = 8 / this.#bits // index 0 is in the lowest bits of the first byte
    const byte = this.#entries[Math.floor(index / each)]
    return byte === undefined ? undefined : (byte >> ((index % each) * this.#bits)) & ((1 << this.#bits) - 1)
  }
}

/** Keeps the status lists that tokens refer to, by URL. */
export class StatusLists {
  readonly #keys: KeySource
  /** In milliseconds. */
  readonly #tolerance: number
  readonly #lists = new Map<string, Cached<StatusList>>()

  constructor(keys: KeySource, tolerance: number) {
    this.#keys = keys
    this.#tolerance = tolerance * 1000
  }

  /** Checks a token. A faulty list does not condemn the token: the error is retryable. */
  async check(t: Verified): Promise<void> {
    if (!t.status) throw invalidToken('status is missing: set status_list for the client')
    const { uri, index } = t.status
    if (!this.#isUnderIssuer(uri)) throw invalidToken('status.uri is not below the issuer')
    const status = (await this.#list(uri).get()).value.at(index)
    if (status === undefined) throw invalidToken('status.idx is not in the list')
    if (status !== 0) throw invalidToken('revoked') // or suspended, or with a meaning that only the issuer knows
  }

  /** A token must not cause requests to another host. */
  #isUnderIssuer(uri: string): boolean {
    const base = this.#keys.issuer.url + '/'
    // A URL that parsing changes has dot segments, encoded characters or the like.
    return uri.startsWith(base) && uri !== base && !/[?#%\\]|\/\//.test(uri.slice(base.length)) && URL.canParse(uri) && new URL(uri).href === uri && !uri.endsWith('/')
  }

  #list(uri: string): Cached<StatusList> {
    const { clock } = this.#keys.issuer
    let list = this.#lists.get(uri)
    if (!list) {
      for (const [key, { current }] of this.#lists) if (current && clock.now() >= current.usableUntil) this.#lists.delete(key)
      list = new Cached(() => clock.now(), async () => {
        try {
          return await this.#download(uri)
        } catch (cause) {
          throw cause instanceof LatchkeyError && cause.retryable ? cause : unavailable(`status list ${uri}: ${(cause as Error).message}`, { cause })
        }
      })
      this.#lists.set(uri, list)
    }
    return list
  }

  /** Fetches a list and validates it (§8.3). */
  async #download(uri: string): Promise<Document<StatusList>> {
    const { issuer } = this.#keys
    const requestedAt = issuer.clock.now()
    const { text } = await issuer.get(uri, `application/${TYP}`, MAX_STATUS_LIST)
    const jws = parseCompact(text.trim())
    if (!isType(jws, TYP)) throw new Error('typ does not match: expected statuslist+jwt')
    await verifySignature(jws, await this.#keys.key(jws.kid))
    const { sub, iss, iat, exp, ttl = DEFAULT_LIFE, status_list: list } = jws.claims
    if (sub !== uri) throw new Error('sub does not match: expected the URL of the list')
    if (iss !== undefined && iss !== issuer.url) throw new Error(`iss does not match: expected ${JSON.stringify(issuer.url)}`)
    if (typeof iat !== 'number' || requestedAt < iat * 1000 - this.#tolerance) throw new Error('iat is missing or in the future')
    if (exp !== undefined && (typeof exp !== 'number' || requestedAt >= exp * 1000)) throw new Error('exp is malformed or in the past')
    if (typeof ttl !== 'number' || ttl <= 0) throw new Error('ttl must be positive')
    if (!isObject(list)) throw new Error('claim status_list is missing or malformed')
    const freshUntil = requestedAt + Math.min(Math.max(ttl, MIN_LIFE), MAX_LIFE) * 1000
    const usableUntil = exp === undefined ? freshUntil : exp * 1000
    return { value: await StatusList.inflate(list['bits'], list['lst']), requestedAt, freshUntil: Math.min(freshUntil, usableUntil), usableUntil }
  }
}
