import { join } from 'node:path'
import { createContext, runInContext } from 'node:vm'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { build } from 'vite'
import type { Client, ClientOptions, SessionChange } from '../src/index.js'
import { startServer, type TestServer } from './server.js'

type SDK = typeof import('../src/index.js')

let server: TestServer
let code: string
let users = 0

beforeAll(async () => {
  server = await startServer()
  const result = await build({
    configFile: false, logLevel: 'error',
    build: { write: false, target: 'es2022', lib: { entry: join(import.meta.dirname, '../src/index.ts'), formats: ['iife'], name: 'sdk' } },
  })
  code = (result as { output: { code: string }[] }[])[0]!.output[0]!.code
})
afterAll(() => server.stop())

/**
 * The globals of React Native 0.76 to 0.84 that the client may use. There are no events of a page, no `TextDecoder`,
 * `ReadableStream`, `crypto`, `structuredClone` or `AbortSignal.timeout`, and `URL` has no `canParse`.
 */
function reactNative(request: typeof fetch) {
  class NativeURL {
    static canParse = undefined
    readonly href: string
    constructor(url: string) {
      this.href = new URL(url).href
    }
  }
  const globals: Record<string, unknown> = {
    fetch: request, Headers, Request, Response, AbortController, URL: NativeURL, URLSearchParams,
    setTimeout, clearTimeout, queueMicrotask, performance, atob, btoa, TextEncoder, console, navigator: { product: 'ReactNative' },
  }
  globals['window'] = globals['globalThis'] = globals
  return runInContext(`${code}\nsdk`, createContext(globals)) as SDK
}

/** A store of the device, as expo-secure-store is. Its names are restricted. */
function secureStore() {
  const items = new Map<string, string>()
  const check = (key: string) => {
    if (!/^[\w.-]+$/.test(key)) throw new Error(`invalid key ${key}`)
  }
  return {
    items,
    getItem: async (key: string) => (check(key), items.get(key) ?? null),
    setItem: async (key: string, value: string | null) => {
      check(key)
      if (value === null) items.delete(key)
      else items.set(key, value)
    },
  }
}

/** A device: its network, its clock and its store, which survive the app. */
function newDevice() {
  const device = {
    user: `native-${++users}`,
    store: secureStore(),
    online: true,
    skew: 0,
    requests: [] as string[],
    changes: [] as SessionChange['event'][],
    /** Starts the app, in a new process. */
    start(options: Partial<ClientOptions> = {}): { client: Client; sdk: SDK } {
      const sdk = reactNative(async (input, init) => {
        if (!device.online) throw new TypeError('Network request failed')
        const body = init?.body instanceof URLSearchParams ? init.body : undefined
        device.requests.push(body?.get('grant_type')?.replace(/.*:/, '') ?? String(input instanceof Request ? input.url : input))
        return fetch(input, init)
      })
      const client = sdk.createClient({
        issuer: server.issuer, clientId: server.clientId, storage: sdk.keyValueStorage(device.store), retryWindow: 600,
        clock: { now: () => Date.now() + device.skew }, ...options,
      })
      client.onSessionChange(({ event }) => device.changes.push(event))
      return { client, sdk }
    },
    /** What an app does when AppState changes to active. */
    resume: (client: Client) => client.getToken().catch(() => undefined),
  }
  return device
}

const failure = (promise: Promise<unknown>) => promise.then(() => expect.fail('it succeeded'), (error: unknown) => error)

test('an app signs in, refreshes, steps up and signs out', async () => {
  const device = newDevice()
  const { client } = device.start()
  await client.ready
  expect(client.session).toBeNull()
  const session = await client.createSession(await server.clientToken(device.user, { amr: ['pwd'] }), { deviceName: 'Phone' })
  expect(session).toMatchObject({ user: { id: device.user }, amr: ['pwd'] })
  const token = await client.getToken()
  await client.refreshSession()
  expect(await client.getToken()).not.toBe(token)
  await client.stepUp(await server.clientToken(device.user, { amr: ['otp'] }))
  expect(client.session).toMatchObject({ acr: 'urn:latchkey:acr:2' })
  expect(await client.listSessions()).toMatchObject([{ id: session.id, current: true, device: { name: 'Phone' } }])
  const answer = await client.fetch(`${server.issuer}/userinfo`, { method: 'POST', body: '' })
  expect(await answer.json()).toMatchObject({ sub: device.user })
  await client.signOut()
  await vi.waitFor(() => expect(device.changes).toEqual(['signed-in', 'refreshed', 'stepped-up', 'signed-out']))
  expect(await server.sessions(device.user)).toEqual([])
})

test('the next start has the session of the device', async () => {
  const device = newDevice()
  const { client } = device.start()
  await client.createSession(await server.clientToken(device.user))
  client.dispose()
  const { client: next } = device.start()
  await next.ready
  expect(next.session).toMatchObject({ user: { id: device.user } })
  next.dispose()
})

test('commits of one process do not overwrite each other', async () => {
  const device = newDevice()
  const { client } = device.start()
  await client.createSession(await server.clientToken(device.user))
  const { client: widget } = device.start()
  await Promise.all([client.refreshSession(), widget.refreshSession(), client.refreshSession()])
  const list = await server.sessions(device.user)
  expect(list).toMatchObject([{ live_chains: 1 }])
  expect(JSON.parse([...device.store.items.values()][0]!)).toMatchObject({ session: { generation: list[0]!.generation } })
  for (const one of [client, widget]) one.dispose()
})

test('an app that was in the background for hours refreshes when it is active again', async () => {
  const device = newDevice()
  const { client } = device.start({ autoRefresh: false })
  await client.createSession(await server.clientToken(device.user))
  device.skew = 5 * 3600_000
  device.requests.length = 0
  await device.resume(client)
  expect(device.requests).toEqual(['refresh_token'])
  expect(device.changes).toEqual(['signed-in', 'refreshed'])
  client.dispose()
})

test('offline, an app keeps its session, and goes on when the network is back', async () => {
  const device = newDevice()
  const { client, sdk } = device.start({ autoRefresh: false })
  await client.createSession(await server.clientToken(device.user))
  device.online = false
  expect(await client.getToken()).toMatch(/^eyJ/)
  device.skew = 3600_000
  const error = await failure(client.getToken())
  expect(error).toBeInstanceOf(sdk.LatchkeyError)
  expect(error).toMatchObject({ code: 'unavailable', retryable: true })
  expect(client.session).toMatchObject({ user: { id: device.user } })
  device.online = true
  expect(await client.getToken()).toMatch(/^eyJ/)
  client.dispose()
})

test('a sign-out without a network reaches the server after the next start', async () => {
  const device = newDevice()
  const { client } = device.start()
  await client.createSession(await server.clientToken(device.user))
  device.online = false
  await client.signOut()
  expect(client.session).toBeNull()
  client.dispose()
  expect(await server.sessions(device.user)).toHaveLength(1)
  device.online = true
  const { client: next } = device.start()
  await vi.waitFor(async () => expect(await server.sessions(device.user)).toEqual([]))
  expect(next.session).toBeNull()
  next.dispose()
})

test('an issuer has to be a base URL', () => {
  for (const issuer of ['', 'id.example.com', 'http://id.example.com', 'https://id.example.com/', 'https://u@id.example.com']) {
    expect(() => newDevice().start({ issuer }), issuer).toThrow('issuer')
  }
})
