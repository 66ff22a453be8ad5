/** What a {@link LatchkeyError} is made of. */
export interface LatchkeyErrorOptions {
  retryable?: boolean
  status?: number | undefined
  reason?: string | undefined
  endReason?: string | undefined
  retryAfter?: number | undefined
  cause?: unknown
}

/**
 * Every error that the SDK throws. It never contains a token.
 *
 * Branch on `code`, and on `reason` for refusals of the server. `message` is for developers.
 */
export class LatchkeyError extends Error {
  override readonly name = 'LatchkeyError'

  /**
   * A stable word. A refusal of the server has its OAuth error code, such as `invalid_request` or
   * `unmet_authentication_requirements`. Codes of the SDK:
   *
   * - `unavailable`: the server did not respond, or something on the way responded in its place
   * - `not_signed_in`: there is no session
   * - `session_ended`: the server reports that the session has ended
   * - `superseded`: another tab or process has newer tokens, which are not in the storage yet
   * - `invalid_token`: a resource server must not accept the token
   * - `storage_required`, `storage_unavailable`: there is no storage, or it does not work
   * - `no_tokens`: a back end keeps the tokens, so `getToken` has none to return
   * - `invalid_option`, `disposed`: the caller has to fix the program
   */
  declare readonly code: string

  /** Reports whether the same call may succeed later. The session is kept in any case. */
  declare readonly retryable: boolean

  /** The HTTP status of the response, if there was one. */
  declare readonly status: number | undefined

  /** `latchkey_reason` of the response: a stable word, which the documentation of errors lists. */
  declare readonly reason: string | undefined

  /** `latchkey_end_reason` of the response: why the session ended, such as `revoked_by_user`. */
  declare readonly endReason: string | undefined

  /** How many seconds the server asked to wait. */
  declare readonly retryAfter: number | undefined

  constructor(code: string, message: string, options: LatchkeyErrorOptions = {}) {
    super(message, options)
    Object.assign(this, { retryable: false, ...options, code })
  }
}

/** Returns an error that means that nothing is known: the server did not respond. */
export function unavailable(message: string, options: LatchkeyErrorOptions = {}): LatchkeyError {
  return new LatchkeyError('unavailable', message, { retryable: true, ...options })
}

/** Reports whether an error is retryable. */
export function isRetryable(error: unknown): boolean {
  return error instanceof LatchkeyError && error.retryable
}
