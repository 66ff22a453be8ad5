import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { unverifiedClaims } from '../src/claims.js'
import {
  emptyState,
  ended,
  lead,
  parse,
  refreshed,
  revoked,
  serialize,
  signedIn,
  signedOut,
  steppedUp,
  stepUpSent,
  supersedes,
  type State,
  type Tokens,
} from '../src/state.js'

const jwt = (claims: object) => `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.c2ln`

function tokens(over: Partial<Tokens> & { iat?: number; authTime?: number } = {}): Tokens {
  const { iat = 100, authTime = 50, ...rest } = over
  return {
    id: 's', generation: 1, expiresAt: 10_000, scope: '', accessToken: jwt({ iat, auth_time: authTime }), expiresIn: 300, receivedAt: 0,
    refreshToken: `r${rest.generation ?? 1}`, ...rest,
  }
}

test('claims are in any language; what is not a JWT has none', () => {
  expect(unverifiedClaims(jwt({ name: 'Zoë 木村 🔑 100%', amr: ['pwd'] }))).toEqual({ name: 'Zoë 木村 🔑 100%', amr: ['pwd'] })
  for (const token of ['', 'opaque', 'a.b.c', `e30.${btoa('"%ff')}.c2ln`]) expect(unverifiedClaims(token)).toEqual({})
})

const holding = (session: Tokens | null, rest: Partial<State> = {}): State => ({ ...emptyState, session, ...rest })
const tombstone = { id: 's', until: 1e12 }

describe('an answer is written', () => {
  const cases: [name: string, stored: State, answer: Tokens, written: boolean][] = [
    ['over a lower generation', holding(tokens()), tokens({ generation: 2 }), true],
    ['never over a higher generation', holding(tokens({ generation: 3 })), tokens({ generation: 2 }), false],
    ['at the same generation over an earlier auth_time', holding(tokens({ authTime: 50 })), tokens({ authTime: 60, iat: 90 }), true],
    ['never at the same generation over a later auth_time', holding(tokens({ authTime: 60 })), tokens({ authTime: 50, iat: 110 }), false],
    ['at the same generation and auth_time over an older answer', holding(tokens({ iat: 100 })), tokens({ iat: 101 }), true],
    ['never at the same generation and auth_time over a newer answer', holding(tokens({ iat: 101 })), tokens({ iat: 100 }), false],
    ['into an empty storage', emptyState, tokens(), true],
    ['never after the session is over', holding(null, { tombstones: [tombstone] }), tokens({ generation: 9 }), false],
    ['beside the tombstone of another session', holding(null, { tombstones: [{ ...tombstone, id: 'other' }] }), tokens(), true],
    ['never over another session', holding(tokens({ id: 'other' })), tokens({ generation: 9 }), false],
  ]
  test.each(cases)('%s', (_name, stored, answer, written) => {
    expect(supersedes(answer, stored)).toBe(written)
    const next = refreshed(answer)(stored)
    if (written) expect(next?.session).toMatchObject({ generation: answer.generation, accessToken: answer.accessToken })
    else expect(next).toBeUndefined()
  })
})

describe('the end of a session', () => {
  test('deletes only the token that was refused', () => {
    const stored = holding(tokens({ generation: 2 }))
    expect(ended('s', 'r1', 'refresh_reused', 0)(stored)).toBeUndefined()
    expect(ended('s', 'r2', 'idle', 0)(stored)).toMatchObject({ session: null, tombstones: [{ id: 's', reason: 'idle' }], revocations: [] })
  })

  test('signing out leaves a tombstone until the session would have ended, by any clock', () => {
    const now = 5 * 3600 * 1000 // the device is hours off: only differences count
    const next = signedOut('s', 'current', now)(holding(tokens({ expiresAt: 10_000, iat: 100 })))
    expect(next?.tombstones).toEqual([{ id: 's', until: now + 9_900_000, reason: undefined }])
    expect(next?.revocations).toEqual([expect.objectContaining({ id: 's', token: 'r1', scope: 'current' })])
    expect(revoked('s')(next ?? emptyState)?.revocations).toEqual([])
  })

  test('a new session signs out the one that it replaces', () => {
    const next = signedIn(tokens({ id: 'new' }), 0)(holding(tokens()))
    expect(next?.session?.id).toBe('new')
    expect(next?.revocations.map((r) => r.id)).toEqual(['s'])
  })

  test('tombstones are bounded', () => {
    let state: State = emptyState
    for (let i = 0; i < 50; i++) state = signedOut(`s${i}`, 'current', 0)({ ...state, session: tokens({ id: `s${i}` }) }) ?? state
    expect(state.tombstones).toHaveLength(20)
    expect(state.tombstones[0]?.id).toBe('s49')
  })
})

describe('a pending step-up', () => {
  const pending = { clientToken: 'proof', acrValues: ['phr'] }

  test('survives a refresh of another tab', () => {
    const stored = stepUpSent('s', pending)(holding(tokens()))
    expect(refreshed(tokens({ generation: 2 }))(stored ?? emptyState)?.session?.pending).toEqual(pending)
  })

  test('ends with its answer, also if the answer is older than what is stored', () => {
    const stored = holding(tokens({ generation: 5, pending }))
    expect(steppedUp(tokens({ generation: 6 }), 'proof')(stored)?.session).toMatchObject({ generation: 6, pending: undefined })
    expect(steppedUp(tokens({ generation: 4 }), 'proof')(stored)?.session).toMatchObject({ generation: 5, pending: undefined })
  })

  test('is kept if the answer is to another one', () => {
    const stored = holding(tokens({ pending: { clientToken: 'newer' } }))
    expect(steppedUp(tokens({ generation: 2 }), 'proof')(stored)?.session?.pending?.clientToken).toBe('newer')
  })
})

test('a text that the client has not written counts as no text', () => {
  for (const text of [null, '', 'x', '{}', '{"v":2,"tombstones":[],"revocations":[]}', '{"v":1}', 'null', '[]']) expect(parse(text)).toEqual(emptyState)
  const state = holding(tokens(), { tombstones: [tombstone] })
  expect(parse(serialize(state))).toEqual(state)
})

test.each([
  [30, 0, 10], [30, 1, 12], [300, 0, 30], [600, 0, 60], [86_400, 0, 60], [86_400, 1, 72], [15, 0, 7.5], [2, 1, 1],
])('a token that lives %d s is replaced early (%d): %d s', (life, random, want) => {
  expect(lead(life, random)).toBe(want)
})

/**
 * Tabs that refresh, step up, crash and sign out in any order, over a storage with compare-and-set: the
 * stored generation never falls, a session that is over never comes back, and the last change wins.
 */
test('no order of answers moves a session backwards or brings it back', () => {
  const operation = fc.oneof(
    fc.record({ kind: fc.constant('answer' as const), generation: fc.nat(8), authTime: fc.nat(3), iat: fc.nat(3) }),
    fc.record({ kind: fc.constant('refused' as const), generation: fc.nat(8) }),
    fc.record({ kind: fc.constant('sign-out' as const) }),
    fc.record({ kind: fc.constant('cleared' as const) }),
  )
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 40 }), (operations) => {
      let state = holding(tokens())
      for (const o of operations) {
        const before = state
        const over = before.tombstones.length > 0
        if (o.kind === 'cleared') state = over ? state : emptyState
        else if (o.kind === 'sign-out') state = signedOut('s', 'current', 0)(state) ?? state
        else if (o.kind === 'refused') state = ended('s', `r${o.generation}`, 'idle', 0)(state) ?? state
        else state = refreshed(tokens(o))(state) ?? state
        if (over) expect(state.session).toBeNull()
        if (o.kind === 'answer' && before.session && state.session) {
          expect(state.session.generation).toBe(Math.max(before.session.generation, o.generation))
        }
        if (o.kind === 'refused' && before.session && before.session.generation !== o.generation) expect(state.session).toEqual(before.session)
      }
    }),
  )
})
