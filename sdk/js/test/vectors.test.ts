import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Endpoint } from '../src/endpoint.js'
import { isInvalidTokenChallenge, parseChallenge } from '../src/index.js'
import { judge } from '../src/retry.js'
import { createVerifier, LatchkeyError, maxAge, requireAcr, requireScope, type AccessToken, type Requirement } from '../src/server/index.js'
import { readClaims, type Verified } from '../src/server/access_token.js'
import { EventParser } from '../src/server/event_stream.js'
import { combine, lacksAuthentication, lacksScope } from '../src/server/requirement.js'
import { RevokedSet, readEntry } from '../src/server/revoked_set.js'
import { StatusList } from '../src/server/status_list.js'

// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- it names the shape of a file
function read<T>(name: string): T & { now: number } {
  return JSON.parse(readFileSync(join(import.meta.dirname, `../../vectors/${name}.json`), 'utf8')) as T & { now: number }
}

const tokens = read<{ issuer: string; audience: string; jwks: object; cases: { name: string; token: string; accepted: boolean; accept_typ_jwt?: boolean; max_token_age?: number }[] }>('access_tokens')

test.each(tokens.cases)('$name', async ({ token, accepted, accept_typ_jwt = false, max_token_age = 0 }) => {
  const { issuer, audience, jwks, now } = tokens
  const verifier = createVerifier({
    issuer, audience, revocation: 'none', acceptTypJWT: accept_typ_jwt, maxTokenAge: max_token_age,
    clock: { now: () => now * 1000 },
    fetch: async (url) => Response.json((url as string).endsWith('/jwks') ? jwks : { issuer, jwks_uri: 'https://id.example.com/jwks' }),
  })
  for (let i = 0; i < 2; i++) { // the second time perhaps from the cache
    const error = await verifier.verify(token).then(() => undefined, (e: unknown) => e as LatchkeyError)
    expect(error?.code, error?.message).toBe(accepted ? undefined : 'invalid_token')
    if (error && token.length > 20) expect(error.message).not.toContain(token.slice(0, 20))
  }
  verifier.close()
})

const feed = read<{ cases: { name: string; stream: string; token: string }[] }>('feed')

test.each(feed.cases)('$name', ({ stream, token }) => {
  const set = new RevokedSet()
  const parser = new EventParser()
  for (const piece of stream) {
    for (const event of parser.push(piece)) {
      const data = JSON.parse(event.data)
      const entries: unknown[] = event.name === 'snapshot' ? data.revoked : event.name === 'revoked' ? [data] : []
      for (const entry of entries) set.add(readEntry(entry), feed.now * 1000)
    }
  }
  const t = { sessionId: 's1', id: 't1', subject: 'alice', clientId: 'web', iat: feed.now - 60 } as Verified
  expect(set.revokes(t) ? 'revoked' : set.mayRevoke(t) !== undefined ? 'doubted' : 'good').toBe(token)
})

const lists = read<{ cases: { name: string; bits: number; lst: string; index: number; status: number | null }[] }>('status_lists')

test.each(lists.cases)('a status list: $name', async ({ bits, lst, index, status }) => {
  const list = await StatusList.inflate(bits, lst).catch(() => undefined)
  expect(list?.at(index) ?? null).toBe(status)
})

const challenges = read<{ cases: { name: string; header: string; demand: { acr_values?: string[]; max_age?: number } | null; invalid_token: boolean }[] }>('challenges')

test.each(challenges.cases)('a challenge demands $name', ({ header, demand, invalid_token }) => {
  const headers = new Headers(header ? { 'www-authenticate': header } : {})
  const got = parseChallenge(headers)
  expect(got ? { ...(got.acrValues && { acr_values: got.acrValues }), ...(got.maxAge !== undefined && { max_age: got.maxAge }) } : null).toEqual(demand)
  expect(isInvalidTokenChallenge(headers)).toBe(invalid_token)
})

const requirements = read<{ cases: { name: string; need: { scopes?: string[]; acr?: string[]; max_age?: number }; claims: object; want: string }[] }>('requirements')

test.each(requirements.cases)('$name', ({ need, claims, want }) => {
  const now = requirements.now
  const token = readClaims({ iss: 'i', sub: 's', aud: 'a', client_id: 'c', jti: 'j', iat: now, exp: now, ...claims }) as AccessToken
  const list: Requirement[] = []
  if (need.scopes) list.push(requireScope(...need.scopes))
  if (need.acr) list.push(requireAcr(...need.acr))
  if (need.max_age !== undefined) list.push(maxAge(need.max_age))
  const combined = combine(list)
  const result = lacksScope(combined, token) ? 'insufficient_scope' : lacksAuthentication(combined, token, now * 1000, 30_000) ? 'insufficient_user_authentication' : 'met'
  expect(result).toBe(want)
})

const responses = read<{ cases: { name: string; status: number; content_type: string; body: string; verdict: string }[] }>('refresh_responses')

test.each(responses.cases)('a refresh that is answered by $name', async ({ status, content_type, body, verdict }) => {
  const endpoint = new Endpoint('https://id.example.com', async () => new Response(body, { status, headers: { 'content-type': content_type } }), 1000)
  const error = await endpoint.post('/token', {}).then(() => expect.fail('it succeeded'), (e: unknown) => e)
  expect(judge(error)).toBe(verdict)
})
