/**
 * Keeps users signed in: in browsers, React Native, Electron and Node.
 *
 * @packageDocumentation
 */
export { createClient, type Client, type FetchInit } from './client.js'
export type { Claims } from './claims.js'
export { isInvalidTokenChallenge, parseChallenge, parseChallenges, type Challenge } from './challenge.js'
export type { Fetch } from './endpoint.js'
export { LatchkeyError, type LatchkeyErrorOptions } from './error.js'
export { indexedDBStorage, type IndexedDBStorageOptions } from './indexeddb_storage.js'
export type { ClientOptions, Clock, CreateSessionOptions, GetTokenOptions, SignOutOptions, StepUpOptions } from './options.js'
export type { Session, SessionChange, SessionEvent, SessionInfo } from './session.js'
export type { Demand } from './state.js'
export { keyValueStorage, memoryStorage, type KeyValueStore, type Storage } from './storage.js'
