// Writes the test vectors in sdk/vectors, which the tests of both SDKs read: npm run vectors
//
// The keys are new each time, and only their public parts are kept.
import { deflateSync } from 'node:zlib'
import { constants, generateKeyPairSync, sign } from 'node:crypto'
import { writeFileSync } from 'node:fs'

const issuer = 'https://id.example.com/t/acme'
const audience = 'https://api.example.com'
const now = 1_790_000_000

const keys = {
  rsa: { alg: 'RS256', ...generateKeyPairSync('rsa', { modulusLength: 2048 }) },
  ec: { alg: 'ES256', ...generateKeyPairSync('ec', { namedCurve: 'P-256' }) },
  ed: { alg: 'EdDSA', ...generateKeyPairSync('ed25519') },
  short: { alg: 'RS256', ...generateKeyPairSync('rsa', { modulusLength: 1024 }) },
}
const stranger = { rsa: { alg: 'RS256', ...generateKeyPairSync('rsa', { modulusLength: 2048 }) } }
const jwks = { keys: Object.entries(keys).map(([kid, { alg, publicKey }]) => ({ ...publicKey.export({ format: 'jwk' }), kid, alg, use: 'sig' })) }
jwks.keys.push({ ...keys.rsa.publicKey.export({ format: 'jwk' }), kid: 'for-encryption', use: 'enc' }, { kty: 'oct', k: 'c2VjcmV0', kid: 'symmetric' })

const base64url = (value) => Buffer.from(value).toString('base64url')
const claims = (over = {}) => ({
  iss: issuer, sub: 'alice', aud: audience, client_id: 'web', jti: 't1', sid: 's1', iat: now - 60, exp: now + 240, auth_time: now - 600,
  acr: 'urn:latchkey:acr:1', amr: ['pwd'], acr_times: { 'urn:latchkey:acr:1': now - 600 }, scope: 'profile orders:read', ...over,
})
const without = (name) => Object.fromEntries(Object.entries(claims()).filter(([key]) => key !== name))

/** Signs a header and a payload, which may be texts. */
function token(payload = claims(), { kid = 'rsa', by = keys, header = {} } = {}) {
  const { alg, privateKey } = by[kid]
  const head = typeof header === 'string' ? header : JSON.stringify({ alg, kid, typ: 'at+jwt', ...header })
  const input = `${base64url(head)}.${base64url(typeof payload === 'string' || Buffer.isBuffer(payload) ? payload : JSON.stringify(payload))}`
  const signature =
    alg === 'EdDSA'
      ? sign(null, Buffer.from(input), privateKey)
      : sign('sha256', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363', padding: alg === 'RS256' ? constants.RSA_PKCS1_PADDING : undefined })
  return `${input}.${signature.toString('base64url')}`
}

/** Changes the unused bits of the last character of a part. */
function otherEncoding(text) {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  return text.slice(0, -1) + alphabet[alphabet.indexOf(text.at(-1)) ^ 1]
}
const parts = token().split('.')
const ecParts = token(claims(), { kid: 'ec' }).split('.')
const nested = (depth) => JSON.stringify(claims()).slice(0, -1) + `,"deep":${'['.repeat(depth)}${']'.repeat(depth)}}`

const accepted = [
  ['signed with RS256', token()],
  ['signed with ES256', token(claims(), { kid: 'ec' })],
  ['signed with EdDSA', token(claims(), { kid: 'ed' })],
  ['for several audiences', token(claims({ aud: ['web', audience] }))],
  ['with the media type of typ in full', token(claims(), { header: { typ: 'application/at+jwt' } })],
  ['with typ in upper case', token(claims(), { header: { typ: 'AT+JWT' } })],
  ['with typ JWT, where that is allowed', token(claims(), { header: { typ: 'JWT' } }), { accept_typ_jwt: true }],
  ['with a key in the header, which is ignored', token(claims(), { header: { jwk: stranger.rsa.publicKey.export({ format: 'jwk' }), jku: 'https://evil.example.com' } })],
  ['without a session', token(without('sid'))],
  ['without scope, acr, amr and auth_time', token({ iss: issuer, sub: 'web', aud: audience, client_id: 'web', jti: 't', iat: now, exp: now + 60 })],
  ['just expired, within the tolerance', token(claims({ exp: now - 29 }))],
  ['issued in the future, within the tolerance', token(claims({ iat: now + 30 }))],
  ['valid from the future on, within the tolerance', token(claims({ nbf: now + 30 }))],
  ['with fractions of seconds', token(claims({ exp: now + 0.5, iat: now - 0.5 }))],
  ['as old as is allowed', token(claims({ iat: now - 60 })), { max_token_age: 60 }],
  ['nested as deeply as is allowed', token(nested(15))],
  ['with duplicate members in different objects', token(JSON.stringify(claims()).slice(0, -1) + ',"a":{"b":1},"c":{"b":{"b":1}}}')],
  ['with names and values that look alike', token(JSON.stringify(claims()).slice(0, -1) + ',"a":"\\"a\\":1,{","b":["a","b","a"]}')],
]
const rejected = [
  ['an empty text', ''],
  ['two parts', parts.slice(0, 2).join('.')],
  ['four parts', [...parts, 'AA'].join('.')],
  ['no signature', `${parts[0]}.${parts[1]}.`],
  ['white space at the end', `${token()} `],
  ['padding', `${parts[0]}=.${parts[1]}.${parts[2]}`],
  ['the alphabet of base64', [parts[0], parts[1], parts[2].replaceAll('-', '+').replaceAll('_', '/')].join('.') + '+'],
  ['a signature with unused bits that are set', [ecParts[0], ecParts[1], otherEncoding(ecParts[2])].join('.')],
  ['a changed payload', [parts[0], base64url(JSON.stringify(claims({ sub: 'mallory' }))), parts[2]].join('.')],
  ['the signature of another token', [parts[0], parts[1], token(claims({ jti: 't2' })).split('.')[2]].join('.')],
  ['a stranger as the signer', token(claims(), { by: stranger })],
  ['no algorithm', [base64url(JSON.stringify({ alg: 'none', kid: 'rsa', typ: 'at+jwt' })), parts[1], 'AA'].join('.')],
  ['the algorithm none in other letters', token(claims(), { header: { alg: 'nOnE' } })],
  ['a symmetric algorithm', token(claims(), { header: { alg: 'HS256' } })],
  ['an algorithm that the key is not for', token(claims(), { header: { alg: 'ES256' } })],
  ['RS512', token(claims(), { header: { alg: 'RS512' } })],
  ['an unknown kid', token(claims(), { header: { kid: 'other' } })],
  ['no kid', token(claims(), { header: { kid: undefined } })],
  ['an empty kid', token(claims(), { header: { kid: '' } })],
  ['a kid that is a number', token(claims(), { header: { kid: 1 } })],
  ['a key that is too short', token(claims(), { kid: 'short' })],
  ['a key for encryption', token(claims(), { header: { kid: 'for-encryption' } })],
  ['a critical extension', token(claims(), { header: { crit: ['b64'], b64: true } })],
  ['a payload that is not encoded', token(claims(), { header: { b64: false } })],
  ['compression', token(claims(), { header: { zip: 'DEF' } })],
  ['two alg members', token(claims(), { header: '{"alg":"RS256","alg":"RS256","kid":"rsa","typ":"at+jwt"}' })],
  ['two sub members', token(`{"sub":"mallory",${JSON.stringify(claims()).slice(1)}`)],
  ['two sub members, one escaped', token(`{"s\\u0075b":"mallory",${JSON.stringify(claims()).slice(1)}`)],
  ['two members in an inner object', token(JSON.stringify(claims()).slice(0, -1) + ',"a":[{"b":1,"b":2}]}')],
  ['deep nesting', token(nested(16))],
  ['invalid UTF-8', token(Buffer.concat([Buffer.from(JSON.stringify(claims()).slice(0, -1) + ',"a":"'), Buffer.from([0xff]), Buffer.from('"}')]))],
  ['data after the claims', token(JSON.stringify(claims()) + '{}')],
  ['a list as its claims', token('[]')],
  ['names in other letters', token(JSON.stringify(claims()).replace('"aud"', '"AUD"'))],
  ['the typ of an ID token', token(claims(), { header: { typ: 'JWT' } })],
  ['no typ', token(claims(), { header: { typ: undefined } })],
  ['another issuer', token(claims({ iss: 'https://id.example.com' }))],
  ['an issuer with a slash', token(claims({ iss: `${issuer}/` }))],
  ['another audience', token(claims({ aud: 'https://files.example.com' }))],
  ['an audience in other letters', token(claims({ aud: audience.toUpperCase() }))],
  ['a list of other audiences', token(claims({ aud: ['web'] }))],
  ['no audience in the list', token(claims({ aud: [] }))],
  ...['iss', 'sub', 'aud', 'client_id', 'jti', 'iat', 'exp'].map((name) => [`no ${name}`, token(without(name))]),
  ...['sub', 'exp', 'iat', 'nbf', 'sid', 'scope', 'acr', 'amr', 'acr_times', 'auth_time'].map((name) => [`null as ${name}`, token(claims({ [name]: null }))]),
  ...['sub', 'client_id', 'jti'].map((name) => [`an empty ${name}`, token(claims({ [name]: '' }))]),
  ['exp as a text', token(claims({ exp: String(now + 240) }))],
  ['a negative exp', token(claims({ exp: -1 }))],
  ['an exp out of range', token(claims({ exp: 2 ** 41 }))],
  ['scope as a list', token(claims({ scope: ['profile'] }))],
  ['amr as a text', token(claims({ amr: 'pwd' }))],
  ['acr_times as texts', token(claims({ acr_times: { phr: 'now' } }))],
  ['status without an index', token(claims({ status: { status_list: { uri: `${issuer}/status/1` } } }))],
  ['a life that is over', token(claims({ exp: now - 30 }))],
  ['a time of issue in the future', token(claims({ iat: now + 31 }))],
  ['a future from which on it is valid', token(claims({ nbf: now + 31 }))],
  ['a greater age than is allowed', token(claims({ iat: now - 61 })), { max_token_age: 60 }],
  ['more than 16 KiB', token(claims({ long: 'x'.repeat(13_000) }))],
]

write('access_tokens', {
  about: 'Access tokens, and whether a verifier without a revocation check accepts them at the time `now` (Unix seconds), with a tolerance of 30 s.',
  issuer, audience, now, jwks,
  cases: [
    ...accepted.map(([name, text, options]) => ({ name: `a token ${name}`, token: text, ...options, accepted: true })),
    ...rejected.map(([name, text, options]) => ({ name: `a token with ${name}`, token: text, ...options, accepted: false })),
  ],
})

const event = (name, data, id = 'e') => `event: ${name}\nid: ${id}\ndata: ${JSON.stringify(data)}\n\n`
const snapshot = (...revoked) => event('snapshot', { cursor: 'c', as_of: now, revoked })
const until = now + 300
write('feed', {
  about:
    'Streams of revocations, and what a verifier knows afterwards of the token {sid: s1, jti: t1, sub: alice, client_id: web, iat: now − 60}: revoked, doubted (an entry may affect it, so it is introspected), or good.',
  now,
  cases: [
    ['an empty snapshot', snapshot(), 'good'],
    ['its session', snapshot({ sid: 's1', until }), 'revoked'],
    ['its session, after the snapshot', snapshot() + event('revoked', { sid: 's1', until }), 'revoked'],
    ['another session', snapshot({ sid: 's2', until }), 'good'],
    ['its jti', snapshot({ jti: 't1', until }), 'revoked'],
    ['another jti', snapshot() + event('revoked', { jti: 't2', until }), 'good'],
    ['its user, later than its issue', snapshot({ sub: 'alice', before: now - 59, until }), 'revoked'],
    ['its user, at the second of its issue', snapshot({ sub: 'alice', before: now - 60, until }), 'good'],
    ['another user', snapshot({ sub: 'bob', before: now, until }), 'good'],
    ['its client', snapshot({ client_id: 'web', before: now, until }), 'revoked'],
    ['its client, before its issue', snapshot({ client_id: 'web', before: now - 100, until }), 'good'],
    ['its client twice: the later moment counts', snapshot({ client_id: 'web', before: now, until }, { client_id: 'web', before: 1, until }), 'revoked'],
    ['a trusted issuer', snapshot({ issuer: 'https://auth.example.com', before: now, until }), 'doubted'],
    ['a trusted issuer, before its issue', snapshot({ issuer: 'https://auth.example.com', before: now - 60, until }), 'good'],
    ['something of a later release', snapshot({ device: 'd', before: now, until }), 'doubted'],
    ['a session and something of a later release', snapshot({ sid: 's1', device: 'd', until }), 'revoked'],
    ['events of unknown kinds', snapshot() + event('other', { sid: 's1', until }), 'good'],
    ['an event that the end of the stream cuts off', snapshot() + event('revoked', { sid: 's1', until }).slice(0, -1), 'good'],
    ['lines that end with CR LF', (snapshot() + event('revoked', { sid: 's1', until })).replaceAll('\n', '\r\n'), 'revoked'],
    ['an event of several lines', `${snapshot()}event: revoked\ndata: {"sid":\ndata: "s1","until":${until}}\n\n`, 'revoked'],
  ].map(([name, stream, token]) => ({ name: `revoked: ${name}`, stream, token })),
})

const entries = [0, 1, 2, 3, 0, 1, 0, 255]
const packed = (bits, values) => {
  const each = 8 / bits
  const bytes = new Uint8Array(Math.ceil(values.length / each))
  values.forEach((value, i) => (bytes[Math.floor(i / each)] |= (value & ((1 << bits) - 1)) << (i % each) * bits))
  return base64url(deflateSync(bytes))
}
write('status_lists', {
  about: 'Status lists (draft-ietf-oauth-status-list §4), and the status at each index; null: the list has no such index, or the list is invalid.',
  cases: [
    ...[1, 2, 4, 8].flatMap((bits) => entries.map((value, index) => ({ name: `${bits} bits, index ${index}`, bits, lst: packed(bits, entries), index, status: value & ((1 << bits) - 1) }))),
    { name: 'the example of the specification, 1 bit', bits: 1, lst: 'eNrbuRgAAhcBXQ', index: 0, status: 1 },
    { name: 'the example of the specification, 1 bit, another index', bits: 1, lst: 'eNrbuRgAAhcBXQ', index: 1, status: 0 },
    { name: 'an index after the end', bits: 8, lst: packed(8, entries), index: 8, status: null },
    { name: '3 bits', bits: 3, lst: packed(8, entries), index: 0, status: null },
    { name: 'a list that is not compressed', bits: 8, lst: base64url(Buffer.from(entries)), index: 0, status: null },
    { name: 'a list with padding', bits: 8, lst: `${packed(8, entries)}=`, index: 0, status: null },
    { name: 'a list that is too long', bits: 8, lst: base64url(deflateSync(Buffer.alloc((8 << 20) + 1))), index: 0, status: null },
  ],
})

const stepUp = 'error="insufficient_user_authentication"'
write('challenges', {
  about: 'WWW-Authenticate headers of a 401: what they demand (null: no step-up), and whether they reject the token as invalid.',
  cases: [
    ['a step-up', `Bearer ${stepUp}, acr_values="phr phrh", max_age="300"`, { acr_values: ['phr', 'phrh'], max_age: 300 }],
    ['a step-up without a demand', `Bearer ${stepUp}`, {}],
    ['a step-up of any age', `Bearer ${stepUp}, acr_values="phr"`, { acr_values: ['phr'] }],
    ['a step-up with a realm that looks alike', `Bearer realm="a, error=\\"invalid_token\\"", ${stepUp}, max_age=0`, { max_age: 0 }],
    ['a step-up after another scheme', `Basic realm="x", Bearer ${stepUp}, max_age="5"`, { max_age: 5 }],
    ['a step-up in other letters', `bearer ERROR="insufficient_user_authentication" , Max_Age = "5"`, { max_age: 5 }],
    ['an age that is no number', `Bearer ${stepUp}, max_age="-1"`, {}],
    ['an age that is too large', `Bearer ${stepUp}, max_age="2147483648"`, {}],
    ['an invalid token', 'Bearer error="invalid_token", error_description="expired"', null, true],
    ['an invalid token after a token68', 'Negotiate YWJj==, Bearer error="invalid_token"', null, true],
    ['a missing scope', 'Bearer error="insufficient_scope", scope="a"', null],
    ['no error', 'Bearer realm="api"', null],
    ['nothing', '', null],
    ['a quoted string without an end', `Bearer error="invalid_token`, null],
  ].map(([name, header, demand, invalid = false]) => ({ name, header, demand, invalid_token: invalid })),
})

const times = { low: now - 1000, phr: now - 400 }
const authenticated = { acr: 'phr', auth_time: now - 400, acr_times: times, scope: 'a b' }
write('requirements', {
  about: 'What a handler requires, and whether a valid token with these claims meets it at the time `now`, with a tolerance of 30 s.',
  now,
  cases: [
    ['nothing', {}, {}, 'met'],
    ['its scopes', { scopes: ['a', 'b'] }, authenticated, 'met'],
    ['another scope', { scopes: ['a', 'c'] }, authenticated, 'insufficient_scope'],
    ['a scope of a token without scopes', { scopes: ['a'] }, {}, 'insufficient_scope'],
    ['another scope and another class: the scope counts', { scopes: ['c'], acr: ['phrh'] }, authenticated, 'insufficient_scope'],
    ['its class', { acr: ['phrh', 'phr'] }, authenticated, 'met'],
    ['a class that it has reached before', { acr: ['low'] }, authenticated, 'met'],
    ['another class', { acr: ['phrh'] }, authenticated, 'insufficient_user_authentication'],
    ['a class in other letters', { acr: ['PHR'] }, authenticated, 'insufficient_user_authentication'],
    ['a class of a token without one', { acr: ['phr'] }, {}, 'insufficient_user_authentication'],
    ['an age within the tolerance', { max_age: 370 }, authenticated, 'met'],
    ['a lower age', { max_age: 369 }, authenticated, 'insufficient_user_authentication'],
    ['an age of a token without a time', { max_age: 3600 }, { acr: 'phr' }, 'insufficient_user_authentication'],
    ['its class and an age', { acr: ['phr'], max_age: 400 }, authenticated, 'met'],
    ['a class that is too old', { acr: ['low'], max_age: 400 }, authenticated, 'insufficient_user_authentication'],
    ['a class whose time is unknown and an age', { acr: ['phr'], max_age: 400 }, { acr: 'phr', auth_time: now }, 'insufficient_user_authentication'],
    ['an age of a class that is more recent than acr', { max_age: 60 }, { acr: 'phr', auth_time: now - 400, acr_times: { phr: now - 400, low: now - 10 } }, 'met'],
    ['a time in the future', { max_age: 60 }, { acr: 'phr', auth_time: now + 31 }, 'insufficient_user_authentication'],
  ].map(([name, need, given, want]) => ({ name: `requires ${name}`, need, claims: given, want })),
})

const json = 'application/json'
const refusal = (error, reason, more = {}) => JSON.stringify({ error, ...(reason && { latchkey_reason: reason }), ...more })
write('refresh_responses', {
  about:
    'Responses to a refresh that bring no token, and what they mean. retry: nothing is known, send the same refresh token again. end: the session has ended. reload: the session continues, and a newer token should be in the storage. fail: the session continues, and the same request would be refused again.',
  cases: [
    ['a session that has ended', 400, json, refusal('invalid_grant', 'session_ended', { latchkey_end_reason: 'idle' }), 'end'],
    ['a reused refresh token', 400, json, refusal('invalid_grant', 'refresh_reused', { latchkey_end_reason: 'reuse_detected' }), 'end'],
    ['an unknown refresh token', 400, json, refusal('invalid_grant', 'refresh_unknown'), 'end'],
    ['a server without reasons', 400, json, refusal('invalid_grant'), 'end'],
    ['a reason of a later release', 400, json, refusal('invalid_grant', 'a_word_of_a_later_release'), 'fail'],
    ['a refresh token that was replaced', 400, json, refusal('invalid_grant', 'refresh_superseded'), 'reload'],
    ['a refresh token of another branch', 400, json, refusal('invalid_grant', 'chain_mismatch'), 'reload'],
    ['an unknown client', 401, json, refusal('invalid_client', 'client_authentication_failed'), 'fail'],
    ['a client without the grant', 400, json, refusal('unauthorized_client', 'grant_not_allowed'), 'fail'],
    ['a demand that is not met', 400, json, refusal('unmet_authentication_requirements', 'authentication_insufficient'), 'fail'],
    ['a target that is not allowed', 400, json, refusal('invalid_target', 'target_not_allowed'), 'fail'],
    ['a page that is not listed', 403, json, refusal('invalid_request', 'origin_not_listed'), 'fail'],
    ['invalid_grant with another status', 403, json, refusal('invalid_grant'), 'fail'],
    ['a database that does not respond', 503, json, refusal('temporarily_unavailable', 'temporarily_unavailable'), 'retry'],
    ['a fault of the server', 500, json, refusal('server_error', 'server_error'), 'retry'],
    ['too many failures', 429, json, refusal('temporarily_unavailable', 'too_many_failures'), 'retry'],
    ['the page of a proxy', 502, 'text/html', '<h1>Bad gateway</h1>', 'retry'],
    ['invalid_grant from a proxy that has lost the content type', 400, 'text/html', refusal('invalid_grant', 'session_ended'), 'retry'],
    ['the page of a captive portal', 200, 'text/html', '<h1>Welcome</h1>', 'retry'],
    ['a response that was cut off', 200, json, '{"access_token":"x', 'retry'],
    ['a redirect', 302, 'text/html', '', 'retry'],
    ['JSON that is not from the server', 400, json, '{"message":"no"}', 'retry'],
    ['a URL that does not exist', 404, 'text/html', 'not found', 'fail'],
    ['a method that is not allowed', 405, 'text/html', '', 'fail'],
    ['a feature that does not exist', 501, 'text/html', '', 'fail'],
  ].map(([name, status, contentType, body, verdict]) => ({ name, status, content_type: contentType, body, verdict })),
})

function write(name, content) {
  writeFileSync(new URL(`../../vectors/${name}.json`, import.meta.url), JSON.stringify(content, null, 2) + '\n')
}
