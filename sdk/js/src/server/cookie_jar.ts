/** The attributes of the SDK's cookies. */
export interface CookieAttributes {
  readonly path: '/'
  readonly httpOnly: true
  readonly secure: boolean
  readonly sameSite: 'lax'
  /** In seconds; 0 deletes the cookie. */
  readonly maxAge: number
}

/** The cookies of one request and of its response. */
export interface CookieJar {
  /** Returns the value that was set last, or that the request has. Undefined: the request has none, or several. */
  get(name: string): string | undefined
  /** Sets a cookie of the response. */
  set(name: string, value: string, attributes: CookieAttributes): void
}

/** A {@link CookieJar} for a web `Request` and `Response`. */
export interface RequestCookies extends CookieJar {
  /** The `Cookie` header that the browser sends from now on. */
  readonly header: string
  /** Removes cookies from `header`, and from nothing else. */
  hide(isHidden: (name: string) => boolean): void
  /**
   * Adds the cookies that were set to the headers of a response, and makes the response private: a shared
   * cache that stored it would give the session to somebody else.
   */
  writeTo(headers: Headers): void
}

/** Returns the cookies of a request. */
export function requestCookies(request: Headers): RequestCookies {
  return new Cookies(request.get('cookie') ?? '')
}

class Cookies implements RequestCookies {
  #pairs: (readonly [name: string, value: string])[]
  readonly #set = new Map<string, { value: string; attributes: CookieAttributes }>()

  constructor(header: string) {
    this.#pairs = parseCookies(header)
  }

  get(name: string): string | undefined {
    return only(this.#pairs, name)
  }

  set(name: string, value: string, attributes: CookieAttributes): void {
    this.#set.set(name, { value, attributes })
    this.hide((other) => other === name)
    if (attributes.maxAge > 0) this.#pairs.push([name, value])
  }

  get header(): string {
    return this.#pairs.map(([name, value]) => `${name}=${value}`).join('; ')
  }

  hide(isHidden: (name: string) => boolean): void {
    this.#pairs = this.#pairs.filter(([name]) => !isHidden(name))
  }

  writeTo(headers: Headers): void {
    for (const [name, { value, attributes }] of this.#set) {
      headers.append('set-cookie', `${name}=${value}; Path=/; Max-Age=${attributes.maxAge}; HttpOnly; SameSite=Lax${attributes.secure ? '; Secure' : ''}`)
    }
    if (this.#set.size > 0) headers.set('cache-control', 'private, no-store')
  }
}

/**
 * Splits a `Cookie` header. It trims spaces and tabs only: a name with other white space before it is another
 * cookie, which a subdomain may have set without the rules for `__Host-`.
 */
export function parseCookies(header: string): (readonly [name: string, value: string])[] {
  return header
    .split(';')
    .map((pair) => pair.replace(/^[ \t]+|[ \t]+$/g, ''))
    .filter(Boolean)
    .map((pair) => {
      const at = pair.indexOf('=')
      return at < 0 ? (['', pair] as const) : ([pair.slice(0, at), pair.slice(at + 1)] as const)
    })
}

/** Returns the value of a cookie. Two cookies of one name count as none: one of them was planted. */
export function only(pairs: readonly (readonly [name: string, value: string])[], name: string): string | undefined {
  const values = pairs.filter(([other]) => other === name)
  return values.length === 1 ? values[0]?.[1] : undefined
}
