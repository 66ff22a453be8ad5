/**
 * Verifies access tokens in an API, and makes the calls of a back end. It uses Web APIs only: it runs in
 * Node, workers, Deno and Bun.
 *
 * @packageDocumentation
 */
export type { Claims } from '../claims.js'
export type { Fetch } from '../endpoint.js'
export { LatchkeyError, type LatchkeyErrorOptions } from '../error.js'
export type { Clock } from '../options.js'
export type { AccessToken } from './access_token.js'
export { createAdmin, type Admin, type AdminOptions } from './admin.js'
export { createBackend, type Backend, type BackendOptions, type Introspection, type SessionDetails } from './backend.js'
export { requestCookies, type CookieAttributes, type CookieJar, type RequestCookies } from './cookie_jar.js'
export { cookieStorage, type CookieStorageOptions } from './cookie_storage.js'
export type { WhenLost } from './feed.js'
export { maxAge, requireAcr, requireScope, type Requirement, type Requirements } from './requirement.js'
export {
  createResourceServer,
  type CheckResult,
  type ProtectedResourceMetadata,
  type ResourceServer,
  type ResourceServerOptions,
} from './resource.js'
export { createVerifier, type RevocationMode, type Verifier, type VerifierOptions, type VerifierStatus } from './verifier.js'
