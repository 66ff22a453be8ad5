import { expect, test } from 'vitest'
import { isInvalidTokenChallenge, parseChallenge, parseChallenges } from '../src/index.js'

const of = (value: string) => new Headers({ 'www-authenticate': value })

test('challenges and their parameters are told apart', () => {
  expect(parseChallenges('Basic realm="a, b", Bearer error="x" , scope = "a b",max_age=5')).toEqual([
    { scheme: 'Basic', params: { realm: 'a, b' } },
    { scheme: 'Bearer', params: { error: 'x', scope: 'a b', max_age: '5' } },
  ])
  expect(parseChallenges('Negotiate abc==, Bearer Error="a\\"b", error=c')).toEqual([
    { scheme: 'Negotiate', params: { abc: '' } },
    { scheme: 'Bearer', params: { error: 'a"b' } },
  ])
  expect(parseChallenges(', , "",=')).toEqual([])
})

test('a demand is read from the challenge that makes it', () => {
  expect(parseChallenge(of('Bearer error="insufficient_user_authentication", acr_values="phr  phrh", max_age="300"'))).toEqual({ acrValues: ['phr', 'phrh'], maxAge: 300 })
  expect(parseChallenge(of('Bearer error="insufficient_user_authentication"'))).toEqual({})
  expect(parseChallenge(of('Bearer error="insufficient_user_authentication", max_age="-1"'))).toEqual({})
  expect(parseChallenge(of('Bearer error="invalid_token", acr_values="phr"'))).toBeUndefined()
  expect(parseChallenge(new Headers())).toBeUndefined()
  expect(isInvalidTokenChallenge(of('DPoP error="use_dpop_nonce", Bearer error="invalid_token"'))).toBe(true)
})
