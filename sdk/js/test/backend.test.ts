import { afterAll, beforeAll, expect, test } from 'vitest'
import { createClient, memoryStorage } from '../src/index.js'
import { createAdmin, createBackend, type LatchkeyError } from '../src/server/index.js'
import { startServer, type TestServer } from './server.js'

let server: TestServer
beforeAll(async () => {
  server = await startServer()
})
afterAll(() => server.stop())

async function signIn(user: string) {
  const client = createClient({ issuer: server.issuer, clientId: 'web', storage: memoryStorage(), autoRefresh: false })
  return { client, session: await client.createSession(await server.clientToken(user), { deviceName: `${user}'s phone` }) }
}

test('a back end lists, reads, extends and ends the sessions of its users', async () => {
  const backend = createBackend({ issuer: server.issuer, ...server.backend })
  const { session } = await signIn('alice')
  const second = await signIn('alice')
  const list = await backend.sessions.list('alice')
  expect(list.map((s) => s.id).sort()).toEqual([session.id, second.session.id].sort())
  expect(list[0]).toMatchObject({ sub: 'alice', client_id: 'web', status: 'active', device: { name: "alice's phone" } })
  expect(await backend.introspect(await second.client.getToken())).toMatchObject({ active: true, sub: 'alice' })
  await backend.sessions.revoke(session.id)
  expect(await backend.sessions.get(session.id)).toMatchObject({ status: 'ended', end_reason: 'revoked_by_backend' })
  const refused = await backend.sessions.extend(second.session.id, 3600).catch((error: unknown) => error as LatchkeyError)
  expect(refused).toMatchObject({ code: 'invalid_request', reason: 'extension_not_allowed' }) // the client has no max_lifetime
  await backend.sessions.revokeAll('alice')
  expect(await backend.sessions.list('alice')).toEqual([])
  expect(await second.client.refreshSession().catch((error: unknown) => error)).toMatchObject({ code: 'session_ended', endReason: 'revoked_by_backend' })
  expect(await backend.sessions.get('AAAAAAAAAAAAAAAAAAAAAA').catch((error: unknown) => error)).toMatchObject({ code: 'not_found', retryable: false })
})

test('a wrong secret is not retried', async () => {
  const backend = createBackend({ issuer: server.issuer, clientId: 'backend', clientSecret: 'wrong' })
  expect(await backend.sessions.list('alice').catch((error: unknown) => error)).toMatchObject({ code: 'invalid_client', status: 401 })
})

test('the admin API is typed, and takes the key of an operator', async () => {
  const admin = createAdmin(server.admin)
  const { data, response } = await admin.GET('/admin/v1/tenants/{tenant}/clients/{client}', { params: { path: { tenant: 'default', client: 'web' } } })
  expect(response.status).toBe(200)
  expect(data).toMatchObject({ id: 'web' })
  const refused = await createAdmin({ ...server.admin, key: 'lk_ak_x' }).GET('/admin/v1/tenants')
  expect(refused.response.status).toBe(401)
  expect(() => createAdmin({ server: 'http://admin.example.com', key: 'x' })).toThrow(expect.objectContaining({ code: 'invalid_option' }))
})
