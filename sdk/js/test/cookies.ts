import { requestCookies, type RequestCookies } from '../src/server/index.js'

/** The cookies of a browser, as far as the SDK's attributes go. */
export class Browser {
  readonly cookies = new Map<string, string>()
  /** Every `Set-Cookie` that was received. */
  readonly received: string[] = []

  get header(): string {
    return [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ')
  }

  headers(more: Record<string, string> = {}): Headers {
    return new Headers({ host: 'app.example.com', ...(this.cookies.size > 0 && { cookie: this.header }), ...more })
  }

  receive(headers: Headers): void {
    for (const line of headers.getSetCookie()) {
      this.received.push(line)
      const [pair = '', ...attributes] = line.split('; ')
      const [name, value] = [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]
      if (attributes.includes('Max-Age=0')) this.cookies.delete(name)
      else this.cookies.set(name, value)
    }
  }

  /** Runs a request with cookies of its own. */
  async request<T>(run: (cookies: RequestCookies) => Promise<T>): Promise<T> {
    const cookies = requestCookies(this.headers())
    const result = await run(cookies)
    const headers = new Headers()
    cookies.writeTo(headers)
    this.receive(headers)
    return result
  }
}
