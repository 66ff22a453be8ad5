const MAX_NESTING = 16

// A string, or what opens, closes or separates values. Between these are only numbers, literals and white space.
const piece = /"(?:[^"\\]|\\.)*"|[{}[\]:,]/g

/**
 * Parses one JSON object in valid UTF-8, without duplicate member names at any depth, and not nested
 * deeper than 16 levels (RFC 7519 §4). Given two members with one name, two parsers may each use a
 * different one. It throws an Error otherwise.
 */
export function parseStrictObject(bytes: Uint8Array): Record<string, unknown> {
  let text: string
  let value: unknown
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    value = JSON.parse(text)
  } catch {
    throw new Error('malformed JSON')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error('not a JSON object')
  checkMembers(text)
  return value as Record<string, unknown>
}

/** Finds duplicate members. The text is valid JSON, which keeps this short and fast. */
function checkMembers(text: string): void {
  const open: (Set<string> | undefined)[] = [] // the names of each open object; undefined for an array
  let last = ''
  let before = ''
  piece.lastIndex = 0
  for (let match = piece.exec(text); match !== null; match = piece.exec(text)) {
    const [token] = match
    if (token === '{' || token === '[') {
      if (open.push(token === '{' ? new Set() : undefined) > MAX_NESTING) throw new Error(`JSON nested deeper than ${MAX_NESTING} levels`)
    } else if (token === '}' || token === ']') {
      open.pop()
    } else if (token === ':' && (before === '{' || before === ',')) {
      const names = open.at(-1)
      const name = last.includes('\\') ? (JSON.parse(last) as string) : last.slice(1, -1)
      if (names?.has(name)) throw new Error('duplicate JSON member name')
      names?.add(name)
    }
    if (token.startsWith('"')) last = token
    else before = token
  }
}
