/** The claims of an access token. */
export type Claims = Readonly<Record<string, unknown>>

/**
 * Returns the claims of a JWT without a check of its signature, or no claims if it is not a JWT. The
 * token came from the token endpoint, and the client only shows what it says.
 */
export function unverifiedClaims(token: string): Claims {
  try {
    const bytes = atob((token.split('.')[1] ?? '').replace(/-/g, '+').replace(/_/g, '/'))
    // React Native before 0.85 has no TextDecoder.
    const text = decodeURIComponent(bytes.replace(/[%\x80-\xff]/g, (byte) => '%' + byte.charCodeAt(0).toString(16)))
    return Object(JSON.parse(text)) as Claims
  } catch {
    return {}
  }
}

/** Returns a claim that is a number, or 0. */
export function numberClaim(claims: Claims, name: string): number {
  const value = claims[name]
  return typeof value === 'number' ? value : 0
}

/** Returns a text that is not empty, or undefined. */
export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** Returns the texts of a list. */
export function textsOf(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : []
}
