/** Bounds of a stream, in characters. */
const [MAX_LINE, MAX_EVENT] = [1 << 20, 16 << 20]

/** An event of a stream, or a comment, whose `name` is empty. */
export interface StreamEvent {
  name: string
  id: string
  data: string
  comment: string
}

/**
 * Parses a stream of server-sent events as browsers do. Lines end with CR, LF or CR LF. An event is
 * returned as soon as it is complete, and one that the end of the stream cuts off is dropped.
 */
export class EventParser {
  #rest = ''
  #skipLF = false
  #first = true
  #id = ''
  #name = ''
  #data: string[] | undefined
  #size = 0

  /** Takes the next piece of the stream and returns what is complete by now. */
  push(piece: string): StreamEvent[] {
    const events: StreamEvent[] = []
    let text = this.#rest + piece
    for (;;) {
      if (this.#skipLF && text !== '') {
        this.#skipLF = false
        if (text.startsWith('\n')) text = text.slice(1)
      }
      const end = text.search(/[\r\n]/)
      if (end < 0) break
      this.#skipLF = text[end] === '\r'
      const event = this.#line(text.slice(0, end))
      if (event) events.push(event)
      text = text.slice(end + 1)
    }
    if (text.length > MAX_LINE) throw new Error(`line longer than ${MAX_LINE} characters`)
    this.#rest = text
    return events
  }

  #line(text: string): StreamEvent | undefined {
    const line = this.#first ? text.replace(/^\uFEFF/, '') : text
    this.#first = false
    if (line === '') return this.#end()
    const colon = line.indexOf(':')
    const [field, value] = colon < 0 ? [line, ''] : [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, '')]
    if (field === '' && !this.#data && this.#name === '') return { name: '', id: this.#id, data: '', comment: value }
    if (field === 'event') this.#name = value
    else if (field === 'id' && !value.includes('\0')) this.#id = value
    else if (field === 'data') {
      this.#data ??= []
      this.#data.push(value)
      this.#size += value.length
      if (this.#size > MAX_EVENT) throw new Error(`event longer than ${MAX_EVENT} characters`)
    }
    return undefined
  }

  #end(): StreamEvent | undefined {
    const event = this.#data && { name: this.#name || 'message', id: this.#id, data: this.#data.join('\n'), comment: '' }
    this.#name = ''
    this.#data = undefined
    this.#size = 0
    return event
  }
}
