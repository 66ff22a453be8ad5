import { LatchkeyError } from './error.js'
import { newQueue } from './queue.js'
import { emptyState, parse, refreshed, serialize, type Change, type State } from './state.js'
import type { Storage } from './storage.js'

/** How long one operation of the storage may take, in milliseconds. */
const STORAGE_TIMEOUT = 2000

/**
 * The state of a client: what is in its storage, and what could not be written there yet. Operations
 * run one after another. A storage that fails makes the state live in memory, and loses nothing.
 */
export class Vault {
  /** The state that was last seen. */
  state: State = emptyState

  readonly #storage: Storage
  readonly #onChange: (before: State, after: State) => void
  readonly #onError: (error: LatchkeyError) => void
  #unsaved: Change[] = []
  #failing = false
  /** Reports whether an operation of the storage has been given up, and has not ended. */
  #stuck = false
  readonly #enqueue = newQueue()

  constructor(storage: Storage, onChange: (before: State, after: State) => void, onError: (error: LatchkeyError) => void) {
    this.#storage = storage
    this.#onChange = onChange
    this.#onError = onError
  }

  /** Reads the storage. It first writes what an earlier operation could not write. */
  load(): Promise<State> {
    return this.apply(() => undefined)
  }

  /** Applies a change to the stored state, and returns the state from then on. */
  apply(change: Change): Promise<State> {
    return this.#enqueue(() => this.#write(change))
  }

  async #write(change: Change): Promise<State> {
    const before = this.state
    try {
      this.state = await this.#commit([...this.#unsaved, change])
      this.#unsaved = []
      this.#failing = false
    } catch (cause) {
      const next = change(before)
      if (next) {
        this.state = next
        this.#unsaved.push(change)
      }
      if (!this.#failing) {
        this.#failing = true
        this.#onError(new LatchkeyError('storage_unavailable', 'the storage does not work: the session is kept in memory', { retryable: true, cause }))
      }
    }
    this.#onChange(before, this.state)
    return this.state
  }

  async #commit(changes: readonly Change[]): Promise<State> {
    for (;;) {
      const text = await this.#inTime(() => this.#storage.load())
      const stored = parse(text)
      let next = stored
      for (const change of changes) next = change(next) ?? next
      // The storage may have been cleared while this page has a session that is not over.
      const known = this.state.session
      if (known && known.generation > (next.session?.generation ?? -1)) next = refreshed(known)(next) ?? next
      if (next === stored || (await this.#inTime(() => this.#storage.commit(text, serialize(next))))) return next
    }
  }

  /** Gives an operation up after a while. Until it ends, others fail at once: nobody waits twice. */
  #inTime<T>(operation: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const fail = () => reject(new Error('the storage does not respond'))
      if (this.#stuck) return fail()
      const timer = setTimeout(() => {
        this.#stuck = true
        fail()
      }, STORAGE_TIMEOUT)
      const done = () => {
        this.#stuck = false
        clearTimeout(timer)
      }
      operation().then(resolve, reject).finally(done)
    })
  }
}
