/** The interval of the stream's signs of life, in milliseconds. */
const HEARTBEAT = 1000

/** The stream of revocations, which verifiers follow. */
export class RevocationFeed {
  readonly #now: () => number
  readonly #revoked: { sid: string; at: number; until: number }[] = []
  readonly #streams = new Set<{ send: () => void; end: () => void }>()

  constructor(now: () => number) {
    this.#now = now
  }

  revoke(sid: string): void {
    this.#revoked.push({ sid, at: this.#now(), until: this.#now() + 3600 })
    this.beat()
  }

  revokes(sid: string): boolean {
    return this.#revoked.some((entry) => entry.sid === sid)
  }

  /** Sends what is new to every stream, and a sign of life. */
  beat(): void {
    for (const { send } of this.#streams) send()
  }

  /** Ends every stream. */
  cut(): void {
    for (const { end } of [...this.#streams]) end()
  }

  open(request: Request): Response {
    const encoder = new TextEncoder()
    let end: () => void = () => undefined
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        const write = (text: string) => controller.enqueue(encoder.encode(text))
        let sent = this.#revoked.length
        write(`event: snapshot\nid: test.${sent}\ndata: ${JSON.stringify({ cursor: `test.${sent}`, as_of: this.#now(), revoked: this.#revoked })}\n\n`)
        const send = () => {
          for (const entry of this.#revoked.slice(sent)) write(`event: revoked\nid: test.${++sent}\ndata: ${JSON.stringify(entry)}\n\n`)
          write(`: as_of ${this.#now()}\n\n`)
        }
        const timer = setInterval(send, HEARTBEAT)
        ;(timer as { unref?: () => void }).unref?.() // of Node: the timer keeps no test alive
        const stream = { send, end: () => end() }
        end = () => {
          if (!this.#streams.delete(stream)) return
          clearInterval(timer)
          controller.close()
        }
        this.#streams.add(stream)
        request.signal.addEventListener('abort', () => end())
      },
      cancel: () => end(),
    })
    return new Response(body, { headers: { 'content-type': 'text/event-stream' } })
  }
}
