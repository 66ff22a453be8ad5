import type { Storage } from './storage.js'

/** Options of {@link indexedDBStorage}. */
export interface IndexedDBStorageOptions {
  /** The name of the database. Default: `latchkey`. */
  database?: string
  /** The name of the session in the database. Default: `session`. */
  key?: string
}

const STORE = 'sessions'

/**
 * Returns a storage in IndexedDB, which all tabs of an origin share. It is the only storage of browsers
 * whose transactions are atomic across tabs. It touches IndexedDB when it is first used.
 */
export function indexedDBStorage({ database: name = 'latchkey', key = 'session' }: IndexedDBStorageOptions = {}): Storage {
  let opened: Promise<IDBDatabase> | undefined
  let channel: BroadcastChannel | undefined

  function open(): Promise<IDBDatabase> {
    opened ??= new Promise<IDBDatabase>((resolve, reject) => {
      const request = indexedDB.open(name, 1)
      request.onupgradeneeded = () => request.result.createObjectStore(STORE)
      request.onerror = () => reject(request.error)
      request.onsuccess = () => {
        const database = request.result
        // Another tab deletes the database, or the browser has closed it.
        database.onversionchange = () => {
          database.close()
          opened = undefined
        }
        database.onclose = () => (opened = undefined)
        resolve(database)
      }
    })
    opened.catch(() => (opened = undefined))
    return opened
  }

  /** Runs a transaction with the text that is stored, and resolves when it is complete. */
  async function transact<T>(mode: IDBTransactionMode, run: (text: string | null, store: IDBObjectStore) => T): Promise<T> {
    const database = await open()
    try {
      return await new Promise<T>((resolve, reject) => {
        let value: T
        // Strict: a token that was handed out must survive a crash of the machine.
        const transaction = database.transaction(STORE, mode, { durability: 'strict' })
        transaction.oncomplete = () => resolve(value)
        transaction.onabort = () => reject(transaction.error)
        const store = transaction.objectStore(STORE)
        const request = store.get(key)
        request.onsuccess = () => (value = run(typeof request.result === 'string' ? request.result : null, store))
      })
    } catch (error) {
      // A connection that the browser has lost fails from then on: open another one next time.
      database.close()
      opened = undefined
      throw error
    }
  }

  /** The channel sends to every other one of the same name, but not to itself. */
  function connect(): BroadcastChannel | undefined {
    if (typeof BroadcastChannel !== 'undefined') channel ??= new BroadcastChannel(`${name}/${key}`)
    return channel
  }

  return {
    load: () => transact('readonly', (text) => text),
    async commit(previous, next) {
      const written = await transact('readwrite', (text, store) => {
        if (text !== previous) return false
        if (next === null) store.delete(key)
        else store.put(next, key)
        return true
      })
      if (written) connect()?.postMessage(null)
      return written
    },
    subscribe(listener) {
      const from = connect()
      from?.addEventListener('message', listener)
      return () => {
        from?.removeEventListener('message', listener)
        channel?.close()
        channel = undefined
      }
    },
  }
}
