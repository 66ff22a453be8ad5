/**
 * Hooks for React 18 and 19.
 *
 * @packageDocumentation
 */
import { createContext, createElement, useCallback, useContext, useEffect, useState, useSyncExternalStore, type ReactElement, type ReactNode } from 'react'
import type { Client } from '../client.js'
import type { GetTokenOptions } from '../options.js'
import type { Session, SessionInfo } from '../session.js'

const Context = createContext<Client | undefined>(undefined)

/** Properties of {@link LatchkeyProvider}. */
export interface LatchkeyProviderProps {
  /** The client of the app: create it once, outside of components. */
  client: Client
  children?: ReactNode
}

/** Makes a client available to the hooks below it. */
export function LatchkeyProvider({ client, children }: LatchkeyProviderProps): ReactElement {
  return createElement(Context.Provider, { value: client }, children)
}

/** Returns the client of the provider. It throws outside of a {@link LatchkeyProvider}. */
export function useLatchkey(): Client {
  const client = useContext(Context)
  if (!client) throw new Error('useLatchkey, useSession and the like need a <LatchkeyProvider> above them')
  return client
}

/** The session, as {@link useSession} returns it. */
export type SessionState =
  /** The storage has not been read yet. Servers render this state. */
  | { readonly status: 'loading'; readonly session: undefined; readonly reason?: undefined }
  | { readonly status: 'signed-in'; readonly session: Session; readonly reason?: undefined }
  /** `reason` is why the server ended the session, such as `revoked_by_user`, if it did. */
  | { readonly status: 'signed-out'; readonly session: null; readonly reason?: string | undefined }

/** Returns the session, and renders again when it changes, in this tab or in another. */
export function useSession(): SessionState {
  const client = useLatchkey()
  const [reason, setReason] = useState<string>()
  const subscribe = useCallback(
    (notify: () => void) => {
      const stop = client.onSessionChange((change) => {
        setReason(change.reason)
        notify()
      })
      client.ready.then(notify, notify)
      return stop
    },
    [client],
  )
  const session = useSyncExternalStore(subscribe, () => client.session, () => undefined)
  if (session === undefined) return { status: 'loading', session }
  return session ? { status: 'signed-in', session } : { status: 'signed-out', session, reason }
}

/** A value that is fetched, as {@link useAccessToken} and {@link useSessions} return it. */
export interface Fetched<T> {
  /** Undefined while it is fetched for the first time, and after an error. */
  readonly data: T | undefined
  /** Why it could not be fetched: usually a `LatchkeyError`. */
  readonly error: unknown
  /** Fetches it again. */
  readonly reload: () => void
}

/**
 * Returns an access token, and another one after each change of the session. For requests prefer
 * `client.fetch`, or `client.getToken` right before the request: both return a token that is valid then.
 */
export function useAccessToken(options: GetTokenOptions = {}): Fetched<string> {
  const key = JSON.stringify(options)
  return useFetched(useCallback((client: Client) => client.getToken(JSON.parse(key) as GetTokenOptions), [key]))
}

/** Returns the user's live sessions at all apps, for a list of devices. */
export function useSessions(): Fetched<SessionInfo[]> & { readonly revoke: (id: string) => Promise<void> } {
  const client = useLatchkey()
  const fetched = useFetched(listSessions)
  const { reload } = fetched
  const revoke = useCallback((id: string) => client.revokeSession(id).finally(reload), [client, reload])
  return { ...fetched, revoke }
}

const listSessions = (client: Client) => client.listSessions()

function useFetched<T>(fetch: (client: Client) => Promise<T>): Fetched<T> {
  const client = useLatchkey()
  const { session } = useSession()
  const [round, setRound] = useState(0)
  const [result, setResult] = useState<{ data?: T; error?: unknown }>({})
  useEffect(() => {
    let current = true
    if (!session) {
      setResult({})
      return
    }
    fetch(client).then(
      (data) => current && setResult({ data }),
      (error: unknown) => current && setResult({ error }),
    )
    return () => {
      current = false
    }
  }, [client, fetch, session, round])
  return { data: result.data, error: result.error, reload: useCallback(() => setRound((n) => n + 1), []) }
}
