import { newQueue } from './queue.js'

/**
 * Where a client keeps its session. A storage holds one text for one client: give each client its own.
 *
 * The text contains the tokens. Whoever can read the storage has the session.
 */
export interface Storage {
  /** Returns the text that was last committed, or null. */
  load(): Promise<string | null>

  /**
   * Writes `next`, or deletes the text if it is null, if the storage still holds exactly `previous`. It
   * reports whether it did so. This has to be atomic, also beside other tabs and processes that use the
   * same storage.
   */
  commit(previous: string | null, next: string | null): Promise<boolean>

  /** Calls `listener` after each commit of another tab. It returns a function that ends this. */
  subscribe?(listener: () => void): () => void

  /**
   * True for a storage in the cookies of one request: `commit` cannot see what the browser holds by now.
   * Then only the reason `session_ended` ends the session, and the client does nothing in the background.
   */
  readonly ofRequest?: true
}

/** Returns a storage in memory: the session ends with the page or the process. For tests and tools. */
export function memoryStorage(): Storage {
  let text: string | null = null
  const listeners = new Set<() => void>()
  return {
    load: () => Promise.resolve(text),
    commit(previous, next) {
      if (text !== previous) return Promise.resolve(false)
      text = next
      for (const listener of listeners) queueMicrotask(listener)
      return Promise.resolve(true)
    },
    subscribe(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}

/** The two calls of a key-value store, such as `expo-secure-store`. */
export interface KeyValueStore {
  getItem(key: string): Promise<string | null>
  /** Receives null to delete the item. */
  setItem(key: string, value: string | null): Promise<void>
}

/**
 * Returns a storage over a key-value store that only one process uses, as in React Native. Its commits
 * run one after another, which makes them atomic within the process. Do not use it for a store that
 * several tabs share, such as `localStorage`: two tabs would overwrite each other's tokens.
 */
export function keyValueStorage(store: KeyValueStore, key = 'latchkey'): Storage {
  const enqueue = newQueue()
  return {
    load: () => store.getItem(key),
    commit: (previous, next) =>
      enqueue(async () => {
        if ((await store.getItem(key)) !== previous) return false
        await store.setItem(key, next)
        return true
      }),
  }
}
