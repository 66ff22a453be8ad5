import { LatchkeyError, unavailable } from '../error.js'
import type { Verified } from './access_token.js'
import { isObject } from './access_token.js'
import { EventParser, type StreamEvent } from './event_stream.js'
import type { Introspector } from './introspection.js'
import { basic, FETCH_TIMEOUT, invalidToken, type Issuer } from './issuer.js'
import { readEntry, RevokedSet } from './revoked_set.js'

/** How long the feed may give no sign of life before it counts as lost. The server sends one every 10 s. */
const SILENCE = 30_000
/** The interval between checks of the feed. */
const CHECK_INTERVAL = 1000
/**
 * The time after a revocation within which every server node learns of it. Later answers of introspection
 * about the affected tokens are final.
 */
const PROPAGATION = 30_000
/** Bounds of the pause between two streams. */
const [FIRST_PAUSE, LAST_PAUSE] = [250, 5000]
/** The pause after the server rejected the client, and the longest Retry-After that is honored. */
const REFUSED_PAUSE = 30_000
/** How long a stream must live for earlier failures to be forgotten. */
const STABLE_AFTER = 10_000
const PRUNE_INTERVAL = 60_000
/** How far the server's clock may be ahead. */
const MAX_AHEAD = 60_000

/** A moment by both clocks, in milliseconds: one stops during sleep, and the other may be set. */
interface Moment {
  wall: number
  steady: number
}

/** What to do while the feed is lost. */
export type WhenLost = 'fail-closed' | 'introspection'

/** Why a stream could not be opened. */
class StreamError extends Error {
  readonly refused: boolean
  readonly retryAfter: number
  constructor(message: string, refused: boolean, retryAfter = 0) {
    super(message)
    this.refused = refused
    this.retryAfter = retryAfter
  }
}

/** Follows the issuer's stream of revocations. It knows every revocation up to `asOf`. */
export class Feed {
  readonly revoked = new RevokedSet()
  /** Every revocation until then is known. Undefined: none yet. */
  asOf: Moment | undefined

  readonly #issuer: Issuer
  readonly #audience: string
  readonly #authorization: string
  readonly #whenLost: WhenLost
  readonly #introspector: Introspector
  readonly #log: (message: string) => void
  readonly #stop = new AbortController()
  /** Resolves when the first stream has delivered its snapshot, has failed, or has taken too long. */
  readonly #started: Promise<void>
  #markStarted: () => void = () => undefined
  #isStarted = false
  #lastError: Error | undefined
  #lastEventId = ''
  /** This clock minus the server's, at most, from the fastest response so far. */
  #offset: { value: number; measuredAt: number } | undefined

  constructor(issuer: Issuer, clientId: string, clientSecret: string, audience: string, whenLost: WhenLost, introspector: Introspector, log: (message: string) => void) {
    this.#issuer = issuer
    this.#audience = audience
    this.#authorization = basic(clientId, clientSecret)
    this.#whenLost = whenLost
    this.#introspector = introspector
    this.#log = log
    this.#started = new Promise((resolve) => {
      this.#markStarted = () => {
        this.#isStarted = true
        resolve()
      }
    })
    void this.#run()
    void this.#monitor()
  }

  close(): void {
    this.#stop.abort()
  }

  /** Checks a token. It is synchronous in the common case: then it returns undefined. */
  check(t: Verified, text: string, now: number): Promise<void> | undefined {
    if (!this.#isStarted) return this.#started.then(() => this.check(t, text, now))
    const problem = this.problem()
    if (this.revoked.revokes(t)) throw invalidToken('revoked')
    if (problem) {
      if (this.#whenLost === 'fail-closed') throw problem
      return this.#introspector.check(t, text, now)
    }
    const since = this.revoked.mayRevoke(t)
    if (since === undefined || t.confirmedActive >= since + PROPAGATION) return undefined
    return this.#introspector.introspect(t, text, now)
  }

  #isClosed(): boolean {
    return this.#stop.signal.aborted
  }

  /** Returns why the revocations until now are not known, or undefined if they are. */
  problem(): LatchkeyError | undefined {
    const cause = this.#lastError
    if (!this.asOf) return unavailable(`revocation feed not started${cause ? `: ${cause.message}` : ''}`, { cause })
    if (this.#elapsed(this.asOf) < SILENCE) return undefined
    return unavailable(`revocation feed lost: ${cause?.message ?? `no sign of life for ${SILENCE / 1000} s`}`, { cause })
  }

  #now(): Moment {
    return { wall: this.#issuer.clock.now(), steady: this.#issuer.clock.monotonic() }
  }

  #elapsed(from: Moment): number {
    const now = this.#now()
    return Math.max(now.wall - from.wall, now.steady - from.steady)
  }

  /** Keeps a stream open until the feed is closed. */
  async #run(): Promise<void> {
    const late = setTimeout(() => this.#markStarted(), FETCH_TIMEOUT)
    for (let failures = 0; !this.#stop.signal.aborted; ) {
      const began = performance.now()
      let error: Error
      try {
        error = await this.#follow()
      } catch (cause) {
        error = cause instanceof Error ? cause : new Error(String(cause))
      }
      if (this.#isClosed()) break
      failures = performance.now() - began > STABLE_AFTER ? 1 : failures + 1
      if (error instanceof StreamError && error.refused) this.#log(`cannot follow revocations: ${error.message}`)
      else if (!this.#lastError) this.#log(`revocation stream ended: ${error.message}`)
      this.#lastError = error
      this.#markStarted()
      await this.#pause(reconnectDelay(failures, error))
    }
    clearTimeout(late)
    this.#markStarted()
  }

  #pause(milliseconds: number): Promise<void> {
    const { signal } = this.#stop
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', end) // otherwise the signal would keep one for every pause
        resolve()
      }
      const timer = setTimeout(end, milliseconds)
      signal.addEventListener('abort', end)
    })
  }

  /** Logs when the feed is lost and restored, and removes entries that have expired. */
  async #monitor(): Promise<void> {
    let lost = false
    let pruned = this.#issuer.clock.now()
    while (!this.#stop.signal.aborted) {
      await this.#pause(CHECK_INTERVAL)
      const now = this.#issuer.clock.now()
      if (now - pruned >= PRUNE_INTERVAL) {
        pruned = now
        this.revoked.prune(now)
      }
      const problem = this.problem()
      if (problem && !lost) this.#log(`${problem.message}: ${this.#whenLost === 'fail-closed' ? 'rejecting' : 'introspecting'} every token`)
      if (!problem && lost) this.#log('revocation feed restored')
      lost = problem !== undefined
    }
  }

  /** Opens a stream and reads it to its end. It returns why it ended. */
  async #follow(): Promise<Error> {
    const abort = new AbortController()
    const end = () => abort.abort()
    this.#stop.signal.addEventListener('abort', end)
    const openedAt = this.#now()
    // The connection may be gone without either side having noticed.
    const watch = setInterval(() => {
      if (this.#elapsed(openedAt) >= SILENCE && this.problem()) end()
    }, CHECK_INTERVAL)
    try {
      const response = await this.#open(abort.signal)
      const stream = new Stream(this, this.#now().wall)
      const parser = new EventParser()
      const decoder = new TextDecoder()
      const reader = (response.body as ReadableStream<Uint8Array>).getReader()
      for (;;) {
        const { done, value } = await reader.read()
        if (done) return new Error('the server ended the stream')
        for (const event of parser.push(decoder.decode(value, { stream: true }))) stream.handle(event)
      }
    } catch (error) {
      return abort.signal.aborted ? new Error(`the stream gave no sign of life for ${SILENCE / 1000} s`) : (error as Error)
    } finally {
      clearInterval(watch)
      this.#stop.signal.removeEventListener('abort', end)
      end()
    }
  }

  /**
   * Requests the stream. The server rejects a client that may not receive all revocations for the
   * audience: a verifier would accept revoked tokens.
   */
  async #open(signal: AbortSignal): Promise<Response> {
    const headers: Record<string, string> = { authorization: this.#authorization, accept: 'text/event-stream', 'cache-control': 'no-store' }
    if (/^[\x20-\x7e]+$/.test(this.#lastEventId)) headers['last-event-id'] = this.#lastEventId
    const from = `${this.#issuer.url}/revocations?${new URLSearchParams({ audience: this.#audience }).toString()}`
    const response = await this.#issuer.fetch(from, { headers, redirect: 'manual', signal })
    const kind = /^[^;\s]*/.exec(response.headers.get('content-type') ?? '')?.[0].toLowerCase() ?? ''
    const { status } = response
    if (status === 200 && kind === 'text/event-stream' && response.body) return response
    if (status === 200) throw new StreamError(`unexpected response from /revocations: content type ${JSON.stringify(kind)}, expected text/event-stream`, false)
    if (status === 401 || status === 403) {
      throw new StreamError(
        `the issuer rejected clientId and clientSecret, or the client may not follow revocations for the audience: add the audience to the client's resource_identifiers (status ${status})`,
        true,
      )
    }
    this.#lastEventId = '' // it may be the reason; the next stream begins with a full snapshot
    throw new StreamError(`unexpected response from /revocations: status ${status}`, false, Number(/^\d{1,5}$/.exec(response.headers.get('retry-after') ?? '')?.[0] ?? 0) * 1000)
  }

  /** Adds entries of the stream. */
  add(list: readonly unknown[]): void {
    const entries = list.map(readEntry)
    const now = this.#issuer.clock.now()
    for (const entry of entries) this.revoked.add(entry, now)
  }

  /** Records that an event was processed. */
  processed(id: string): void {
    this.#lastEventId = id
  }

  /** Records that a first snapshot has arrived. */
  snapshotSeen(): void {
    this.#markStarted()
  }

  /**
   * Computes an upper bound of the offset between this clock and the server's. The bound of earlier streams
   * stays in force: otherwise a recorded response, replayed by something on the way, would look like a new
   * sign of life each time. It may grow by a hundredth of the elapsed time, for clocks that drift.
   */
  measureOffset(answeredAt: number, asOf: number): void {
    let value = answeredAt - asOf
    if (value < -MAX_AHEAD) throw new Error("as_of is more than a minute ahead of this machine's clock: synchronize the clocks")
    if (this.#offset) value = Math.min(value, this.#offset.value + Math.max(0, answeredAt - this.#offset.measuredAt) / 100)
    this.#offset = { value, measuredAt: answeredAt }
  }

  /**
   * Records that every revocation until asOf, by the server's clock, is known. An asOf that does not move
   * is no sign of life.
   */
  advance(asOf: number): void {
    const now = this.#now()
    const behind = Math.max(0, now.wall - (asOf + (this.#offset?.value ?? 0)))
    this.asOf = { wall: now.wall - behind, steady: now.steady - behind }
    this.#lastError = undefined
  }
}

/** An open stream. */
class Stream {
  readonly #feed: Feed
  readonly #answeredAt: number
  #snapshotSeen = false

  constructor(feed: Feed, answeredAt: number) {
    this.#feed = feed
    this.#answeredAt = answeredAt
  }

  /** Processes an event or a comment. Events of unknown kinds are skipped. */
  handle(event: StreamEvent): void {
    if (event.name === '') {
      const asOf = /^as_of (\d{1,12})$/.exec(event.comment)?.[1]
      if (asOf !== undefined && this.#snapshotSeen) this.#feed.advance(Number(asOf) * 1000)
      return
    }
    if (event.name === 'snapshot') this.#snapshot(JSON.parse(event.data))
    else if (event.name === 'revoked') this.#feed.add([JSON.parse(event.data)])
    this.#feed.processed(event.id)
  }

  /** Processes the revocations that are known, or those since the last event id. */
  #snapshot(content: unknown): void {
    const { as_of: asOf, revoked } = isObject(content) ? content : {}
    if (!Number.isSafeInteger(asOf) || (asOf as number) <= 0 || !Array.isArray(revoked)) throw new Error('event snapshot: as_of or revoked is missing')
    this.#feed.add(revoked)
    this.#feed.measureOffset(this.#answeredAt, (asOf as number) * 1000)
    this.#snapshotSeen = true
    this.#feed.advance((asOf as number) * 1000)
    this.#feed.snapshotSeen()
  }
}

/** Returns the pause after a number of failures. It is random in part: all verifiers lose a server at the same moment. */
function reconnectDelay(failures: number, error: Error): number {
  if (error instanceof StreamError) {
    if (error.refused) return REFUSED_PAUSE
    if (error.retryAfter > 0) return Math.min(error.retryAfter, REFUSED_PAUSE) + Math.random() * FIRST_PAUSE
  }
  const pause = Math.min(FIRST_PAUSE * 2 ** Math.min(failures - 1, 10), LAST_PAUSE)
  return pause / 2 + (Math.random() * pause) / 2
}
