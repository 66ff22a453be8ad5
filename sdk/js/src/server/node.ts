import type { IncomingMessage, ServerResponse } from 'node:http'

/** Returns the headers of a request of Node, with duplicates: two Authorization headers are an error. */
export function headersOf(request: IncomingMessage): Headers {
  const headers = new Headers()
  for (let i = 0; i + 1 < request.rawHeaders.length; i += 2) {
    const [name = '', value = ''] = request.rawHeaders.slice(i, i + 2)
    if (name.toLowerCase() === 'authorization') headers.append(name, value)
  }
  return headers
}

/** Sends a response by a response of Node. */
export async function send(from: Response, to: ServerResponse): Promise<void> {
  to.statusCode = from.status
  from.headers.forEach((value, name) => to.setHeader(name, value))
  to.end(await from.text())
}
