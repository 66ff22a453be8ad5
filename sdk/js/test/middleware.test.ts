import { serve } from './serve.js'
import express from 'express'
import Fastify from 'fastify'
import { Hono } from 'hono'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import * as forExpress from '../src/express.js'
import * as forFastify from '../src/fastify.js'
import * as forHono from '../src/hono.js'
import { createClient, memoryStorage, parseChallenge } from '../src/index.js'
import { createResourceServer, createVerifier, maxAge, requireAcr, requireScope, type ResourceServer, type Verifier } from '../src/server/index.js'
import { startServer, type TestServer } from './server.js'

const AUDIENCE = 'https://api.example.com'
let server: TestServer
let verifier: Verifier
let api: ResourceServer
let token: string
const closers: (() => unknown)[] = []

beforeAll(async () => {
  server = await startServer()
  verifier = createVerifier({ issuer: server.issuer, audience: AUDIENCE, ...server.backend })
  api = createResourceServer({ verifier, url: AUDIENCE })
  const client = createClient({ issuer: server.issuer, clientId: 'web', storage: memoryStorage(), autoRefresh: false })
  await client.createSession(await server.clientToken('alice', { amr: ['pwd'] }), { audience: AUDIENCE })
  token = await client.getToken()
})
afterAll(async () => {
  verifier.close()
  for (const close of closers) await close()
  await server.stop()
})

const frameworks: Record<string, () => Promise<string>> = {
  express: async () => {
    const app = express()
    app.use(forExpress.serveMetadata(api))
    app.get('/orders', forExpress.requireToken(api, requireScope('orders:read')), (request, response) => {
      response.json({ user: forExpress.tokenOf(request).subject })
    })
    app.post('/transfers', forExpress.requireToken(api, requireAcr('phr'), maxAge(300)), (_request, response) => void response.sendStatus(204))
    app.get('/open', (request, response) => {
      response.json({ user: forExpress.tokenOf(request).subject })
    })
    app.set('env', 'test') // which logs no errors
    const http = app.listen(0, '127.0.0.1')
    await new Promise((resolve) => http.once('listening', resolve))
    closers.push(() => http.close())
    return `http://127.0.0.1:${(http.address() as AddressInfo).port}`
  },
  fastify: async () => {
    const app = Fastify()
    app.get(api.metadataPath!, forFastify.serveMetadata(api))
    app.get('/orders', { onRequest: forFastify.requireToken(api, requireScope('orders:read')) }, async (request) => ({ user: forFastify.tokenOf(request).subject }))
    app.post('/transfers', { onRequest: forFastify.requireToken(api, requireAcr('phr'), maxAge(300)) }, async () => '')
    app.get('/open', async (request) => ({ user: forFastify.tokenOf(request).subject }))
    closers.push(() => app.close())
    return app.listen({ port: 0, host: '127.0.0.1' })
  },
  hono: async () => {
    const app = new Hono()
    app.use('*', forHono.serveMetadata(api))
    app.get('/orders', forHono.requireToken(api, requireScope('orders:read')), (c) => c.json({ user: forHono.tokenOf(c).subject }))
    app.post('/transfers', forHono.requireToken(api, requireAcr('phr'), maxAge(300)), (c) => c.body(null, 204))
    app.get('/open', (c) => c.json({ user: forHono.tokenOf(c).subject }))
    const { url, close } = await serve((request) => app.fetch(request))
    closers.push(close)
    return url
  },
}

describe.each(Object.keys(frameworks))('%s', (name) => {
  let base: string
  beforeAll(async () => {
    base = await frameworks[name]!()
  })
  const call = (path: string, by?: string, method = 'GET') => fetch(base + path, { method, headers: by === undefined ? {} : { authorization: `Bearer ${by}` } })

  test('lets a valid token through to the handler', async () => {
    const response = await call('/orders', token)
    expect([response.status, await response.json()]).toEqual([200, { user: 'alice' }])
  })

  test('challenges a request without a token, and one with an invalid token', async () => {
    const without = await call('/orders')
    expect([without.status, without.headers.get('www-authenticate')]).toEqual([401, 'Bearer realm="api", resource_metadata="https://api.example.com/.well-known/oauth-protected-resource"'])
    const invalid = await call('/orders', token.slice(0, -8) + 'AAAAAAAA')
    expect([invalid.status, invalid.headers.get('cache-control'), (await invalid.json()).error]).toEqual([401, 'no-store', 'invalid_token'])
  })

  test('demands a step-up', async () => {
    const response = await call('/transfers', token, 'POST')
    expect(response.status).toBe(401)
    expect(parseChallenge(response.headers)).toEqual({ acrValues: ['phr'], maxAge: 300 })
  })

  test('serves its metadata', async () => {
    const response = await call('/.well-known/oauth-protected-resource')
    expect(await response.json()).toMatchObject({ resource: AUDIENCE, authorization_servers: [server.issuer] })
  })

  test('has no token in a handler that requires none', async () => {
    expect((await call('/open', token)).status).toBe(500)
  })
})

test('two Authorization headers are refused, also where Node would join them', async () => {
  const base = await frameworks['express']!()
  const { request } = await import('node:http')
  const status = await new Promise((resolve) => {
    request(`${base}/orders`, { headers: ['Authorization', `Bearer ${token}`, 'Authorization', `Bearer ${token}`, 'Host', 'x'] as never }, (response) => resolve(response.statusCode)).end()
  })
  expect(status).toBe(400)
})
