const alphabet = /^[A-Za-z0-9_-]+$/

/**
 * Decodes base64url, and throws for padding, white space and unused bits that are set: one signature must
 * not have two encodings.
 */
export function decodeBase64url(text: string): Uint8Array<ArrayBuffer> {
  const rest = text.length % 4
  if (!alphabet.test(text) || rest === 1) throw new Error('not canonical base64url')
  const binary = atob(text.replace(/-/g, '+').replace(/_/g, '/'))
  // The last character of 2 has 4 unused bits, that of 3 has 2.
  if (rest > 0) {
    const last = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'.indexOf(text.at(-1) ?? '')
    if (last & (rest === 2 ? 15 : 3)) throw new Error('not canonical base64url')
  }
  const bytes = new Uint8Array(binary.length)
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i)
  return bytes
}
