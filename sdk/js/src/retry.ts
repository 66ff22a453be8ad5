import { isOffline } from './endpoint.js'
import { LatchkeyError } from './error.js'

/** What to do after a response of the token endpoint to a refresh. */
export type Verdict = 'retry' | 'end' | 'reload' | 'fail'

/**
 * Decides what an error means for the session.
 *
 * - `retry`: nothing is known; send the same refresh token again
 * - `end`: the session is over, if the storage still holds the refused token
 * - `reload`: the session continues, and the storage should have a newer token
 * - `fail`: the session continues, and the same request would be refused again
 *
 * The cookie of a request may be older than the one that the browser has by now. `ofRequest`: therefore only
 * `session_ended` ends the session, because it is true for every token of the session.
 */
export function judge(error: unknown, ofRequest = false): Verdict {
  if (!(error instanceof LatchkeyError)) return 'fail'
  // A URL that does not exist does not come into being within seconds, and the cookie of a request does not change.
  if (error.retryable) return [404, 405, 501].includes(error.status ?? 0) || (ofRequest && error.code === 'superseded') ? 'fail' : 'retry'
  switch (error.reason) {
    case 'refresh_superseded':
    case 'session_token_superseded':
    case 'chain_mismatch':
      return 'reload'
    case 'session_ended':
    case 'refresh_reused':
    case 'refresh_unknown':
    case undefined:
      if (ofRequest && error.reason !== 'session_ended') return 'fail'
      return error.status === 400 && error.code === 'invalid_grant' ? 'end' : 'fail'
    default:
      return 'fail'
  }
}

/** Returns the pause after attempt `n`, counted from 0: 100 ms at first, 2 s at most. Half of it is random. */
export function backoff(n: number, random = Math.random()): number {
  return Math.min(50 * 2 ** n, 1000) * (1 + random)
}

/** Repeats a request that got no response, for at most `window` milliseconds. */
export async function withRetry<T>(window: number, attempt: () => Promise<T>, ofRequest = false): Promise<T> {
  const end = Date.now() + window
  for (let n = 0; ; n++) {
    try {
      return await attempt()
    } catch (error) {
      if (judge(error, ofRequest) !== 'retry' || isOffline()) throw error
      const pause = backoff(n) + ((error as LatchkeyError).retryAfter ?? 0) * 1000
      if (Date.now() + pause > end) throw error
      await new Promise((resolve) => setTimeout(resolve, pause))
    }
  }
}
