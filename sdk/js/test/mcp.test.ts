import { toNodeHandler } from '@modelcontextprotocol/node'
import { Client, InsufficientScopeError, StreamableHTTPClientTransport, type AuthProvider } from '@modelcontextprotocol/client'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
// @ts-expect-error: the example is JavaScript
import { createOrders } from '../../../examples/mcp-server/mcp.mjs'
import { createClient, memoryStorage, parseChallenges, type ClientOptions } from '../src/index.js'
import { startServer, type TestServer } from './server.js'

const AUDIENCE = 'https://api.example.com'
let server: TestServer
let orders: { fetch(request: Request): Promise<Response>; close(): Promise<void> }
let url: string
let users = 0
const http = createServer((request, response) => void toNodeHandler(orders)(request as never, response))

beforeAll(async () => {
  server = await startServer()
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(http.address() as AddressInfo).port}/mcp`
  orders = createOrders({ url, issuer: server.issuer, audience: AUDIENCE, ...server.backend })
})
afterAll(async () => {
  http.close()
  await orders.close()
  await server.stop()
})

async function signIn({ claims, scope, audience = AUDIENCE, ...options }: { claims?: object; scope?: string; audience?: string } & Partial<ClientOptions> = {}) {
  const user = `user-${++users}`
  const client = createClient({ issuer: server.issuer, clientId: 'web', storage: memoryStorage(), autoRefresh: false, ...options })
  await client.createSession(await server.clientToken(user, claims), { audience, ...(scope !== undefined && { scope }) })
  return { user, client }
}

async function connect(options: ConstructorParameters<typeof StreamableHTTPClientTransport>[1]) {
  const mcp = new Client({ name: 'test', version: '1' })
  await mcp.connect(new StreamableHTTPClientTransport(new URL(url), options))
  return mcp
}

const say = async (mcp: Client, name: string) => ((await mcp.callTool({ name })).content as { text: string }[])[0]?.text
const failure = (promise: Promise<unknown>) => promise.then(() => expect.fail('it succeeded'), (error: unknown) => error)
const post = (body: unknown, token?: string) =>
  fetch(url, {
    method: 'POST', body: JSON.stringify(body),
    headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream', ...(token && { authorization: `Bearer ${token}` }) },
  })
const call = (name: string) => ({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: {} } })
const bearer = (response: Response) => parseChallenges(response.headers.get('www-authenticate') ?? '').find((c) => c.scheme === 'Bearer')?.params

test('a client that is challenged finds the issuer, gets a token, and calls a tool', async () => {
  let token: string | undefined
  let user = ''
  const provider: AuthProvider = {
    token: async () => token,
    async onUnauthorized({ response }) {
      const metadata = await (await fetch(bearer(response)?.['resource_metadata'] ?? '')).json()
      expect(metadata).toMatchObject({ resource: url, authorization_servers: [server.issuer], scopes_supported: ['orders:read'] })
      const signedIn = await signIn()
      user = signedIn.user
      token = await signedIn.client.getToken()
    },
  }
  const mcp = await connect({ authProvider: provider })
  expect((await mcp.listTools()).tools.map((tool) => tool.name)).toEqual(['whoami', 'list_orders', 'cancel_order'])
  expect(await say(mcp, 'whoami')).toBe(user)
  expect(await say(mcp, 'list_orders')).toBe(`${user} has ordered a kettle.`)
  await mcp.close()
})

test('a tool whose scope is missing is refused with a challenge, also within an array of calls', async () => {
  const { client } = await signIn({ scope: 'profile' })
  const token = await client.getToken()
  expect((await post(call('whoami'), token)).status).toBe(200)
  for (const body of [call('list_orders'), [call('whoami'), call('list_orders')]]) {
    const response = await post(body, token)
    expect([response.status, bearer(response)]).toEqual([403, {
      error: 'insufficient_scope', error_description: expect.any(String) as string, scope: 'orders:read', realm: 'api',
      resource_metadata: url.replace('/mcp', '/.well-known/oauth-protected-resource/mcp'),
    }])
  }
  const mcp = await connect({ authProvider: { token: () => client.getToken() } })
  const error = await failure(say(mcp, 'list_orders'))
  expect(error).toBeInstanceOf(InsufficientScopeError)
  expect(error).toMatchObject({ requiredScope: 'orders:read' })
  await mcp.close()
})

test('a tool that requires a recent authentication is called after a step-up', async () => {
  const now = Math.floor(Date.now() / 1000)
  const asked: unknown[] = []
  const { user, client } = await signIn({
    claims: { amr: ['hwk'], auth_time: now - 3600 },
    onChallenge: async (demand) => {
      asked.push(demand)
      return server.clientToken(user, { amr: ['hwk'], auth_time: now })
    },
  })
  const mcp = await connect({ fetch: (input, init) => client.fetch(input, init) })
  expect(await say(mcp, 'list_orders')).toBe(`${user} has ordered a kettle.`)
  expect(await say(mcp, 'cancel_order')).toBe(`The kettle of ${user} is canceled.`)
  expect(asked).toEqual([{ maxAge: 300 }])
  await mcp.close()
})

test('tokens of an ended session and for other recipients are refused', async () => {
  const { client } = await signIn()
  const token = await client.getToken()
  const other = await (await signIn({ audience: 'https://files.example.com' })).client.getToken()
  expect((await post(call('whoami'), token)).status).toBe(200)
  expect((await post(call('whoami'), other)).status).toBe(401)
  expect((await post(call('whoami'))).status).toBe(401)
  await client.signOut()
  await expect.poll(async () => (await post(call('whoami'), token)).status).toBe(401)
})
