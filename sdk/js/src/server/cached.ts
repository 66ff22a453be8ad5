import type { LatchkeyError } from '../error.js'

/** The least time between a failed fetch and the next one, in milliseconds. */
const FAILURE_PAUSE = 2000

/** A fetched document, with the times that bound its use, in milliseconds. */
export interface Document<T> {
  value: T
  /** When the request was sent; the document may be that old. */
  requestedAt: number
  /** Until then it is used without another request. */
  freshUntil: number
  /** Until then it is used while the issuer does not respond. */
  usableUntil: number
}

/**
 * A document of the issuer that is fetched when it is first needed, and again shortly before it expires.
 * Concurrent callers share one fetch.
 */
export class Cached<T> {
  current: Document<T> | undefined
  failure: LatchkeyError | undefined
  #failedAt = 0
  #inflight: Promise<void> | undefined
  readonly #fetch: (before: Document<T> | undefined) => Promise<Document<T>>
  readonly #now: () => number

  /** `fetch` must throw retryable errors only. */
  constructor(now: () => number, fetch: (before: Document<T> | undefined) => Promise<Document<T>>) {
    this.#now = now
    this.#fetch = fetch
  }

  /** Returns a document that needs no waiting, or undefined. It may start a fetch in the background. */
  peek(now: number): Document<T> | undefined {
    const d = this.current
    if (!d) return undefined
    const early = d.freshUntil - (d.freshUntil - d.requestedAt) / 4
    if (now < early && now >= d.requestedAt) return d
    if (now < d.freshUntil || (this.failure && now < d.usableUntil)) {
      void this.start()
      return d
    }
    return undefined
  }

  /** Returns a document that may be used. */
  async get(): Promise<Document<T>> {
    const now = this.#now()
    const known = this.peek(now)
    if (known) return known
    try {
      return await this.refresh()
    } catch (error) {
      if (this.current && now < this.current.usableUntil) return this.current
      throw error
    }
  }

  /** Fetches the document, or waits for the fetch in progress. */
  async refresh(): Promise<Document<T>> {
    await this.start()
    if (this.failure) throw this.failure
    return this.current as Document<T>
  }

  /** Starts a fetch, or joins the one in progress, unless the last one has just failed. */
  start(): Promise<void> | undefined {
    if (this.#inflight) return this.#inflight
    const since = this.#now() - this.#failedAt
    if (this.failure && since >= 0 && since < FAILURE_PAUSE) return undefined
    this.#inflight = this.#fetch(this.current).then(
      (document) => {
        this.current = document
        this.failure = undefined
      },
      (error: unknown) => {
        this.failure = error as LatchkeyError
        this.#failedAt = this.#now()
      },
    ).finally(() => (this.#inflight = undefined))
    return this.#inflight
  }
}
