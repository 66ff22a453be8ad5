import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

/** Serves a handler of web requests on loopback. */
export async function serve(handle: (request: Request) => Response | Promise<Response>): Promise<{ url: string; close: () => void }> {
  const http = createServer((request, response) => {
    void (async () => {
      const headers = new Headers()
      for (const [name, value] of Object.entries(request.headers)) headers.set(name, [value].flat().join(', '))
      const answer = await handle(new Request(new URL(request.url ?? '/', 'http://127.0.0.1'), { method: request.method ?? 'GET', headers }))
      response.writeHead(answer.status, Object.fromEntries(answer.headers)).end(await answer.text())
    })()
  })
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  return { url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`, close: () => http.close() }
}
