import { expectTypeOf, test } from 'vitest'
import type { ReactElement } from 'react'
import * as express from '../src/express.js'
import * as fastify from '../src/fastify.js'
import * as hono from '../src/hono.js'
import { createClient, keyValueStorage, LatchkeyError, memoryStorage, parseChallenge, type Client, type ClientOptions, type Demand, type Session, type SessionChange, type SessionInfo, type Storage } from '../src/index.js'
import { LatchkeyProvider, useAccessToken, useLatchkey, useSession, useSessions } from '../src/react/index.js'
import { createAdmin, createBackend, createResourceServer, createVerifier, requireScope, type AccessToken, type Requirement, type ResourceServer, type Verifier } from '../src/server/index.js'

// `npm run check` checks these; they have nothing to run.

test('the client', () => {
  expectTypeOf(createClient).parameters.toEqualTypeOf<[ClientOptions]>()
  expectTypeOf(createClient).returns.toEqualTypeOf<Client>()
  expectTypeOf<{ issuer: string; clientId: string }>().toExtend<ClientOptions>()
  expectTypeOf<{ issuer: string }>().not.toExtend<ClientOptions>()
  expectTypeOf<Client['session']>().toEqualTypeOf<Session | null | undefined>()
  expectTypeOf<Client['getToken']>().returns.resolves.toBeString()
  expectTypeOf<Client['createSession']>().parameter(0).toBeString()
  expectTypeOf<Client['createSession']>().returns.resolves.toEqualTypeOf<Session>()
  expectTypeOf<Client['fetch']>().toBeCallableWith('https://api.example.com', { method: 'POST', audience: ['a', 'b'] })
  expectTypeOf<Client['fetch']>().toExtend<typeof fetch>()
  expectTypeOf<Client['signOut']>().toBeCallableWith({ scope: 'others' })
  expectTypeOf<Client['listSessions']>().returns.resolves.toEqualTypeOf<SessionInfo[]>()
  expectTypeOf<Client['onSessionChange']>().parameter(0).toEqualTypeOf<(change: SessionChange) => void>()
  expectTypeOf<Client['onSessionChange']>().returns.toEqualTypeOf<() => void>()
  expectTypeOf<Session['claims'][string]>().toBeUnknown()
  expectTypeOf<Session>().not.toHaveProperty('accessToken')
  expectTypeOf<SessionChange['event']>().toEqualTypeOf<'signed-in' | 'refreshed' | 'stepped-up' | 'signed-out' | 'ended'>()
})

test('storages, challenges and errors', () => {
  expectTypeOf(memoryStorage).returns.toEqualTypeOf<Storage>()
  expectTypeOf(keyValueStorage).toBeCallableWith({ getItem: async () => null, setItem: async () => undefined })
  // The store of a browser is not one: its calls are not asynchronous, and tabs share it.
  expectTypeOf<globalThis.Storage>().not.toExtend<Parameters<typeof keyValueStorage>[0]>()
  expectTypeOf(parseChallenge).returns.toEqualTypeOf<Demand | undefined>()
  expectTypeOf<LatchkeyError>().toExtend<Error>()
  expectTypeOf<LatchkeyError['retryable']>().toBeBoolean()
  expectTypeOf<LatchkeyError['status']>().toEqualTypeOf<number | undefined>()
})

test('the hooks', () => {
  expectTypeOf(LatchkeyProvider).returns.toEqualTypeOf<ReactElement>()
  expectTypeOf(useLatchkey).returns.toEqualTypeOf<Client>()
  expectTypeOf(useAccessToken).returns.toHaveProperty('data').toEqualTypeOf<string | undefined>()
  expectTypeOf(useSessions).returns.toHaveProperty('revoke').toEqualTypeOf<(id: string) => Promise<void>>()
  // The status decides whether there is a session.
  type State = ReturnType<typeof useSession>
  expectTypeOf<Extract<State, { status: 'signed-in' }>['session']>().toEqualTypeOf<Session>()
  expectTypeOf<Extract<State, { status: 'signed-out' }>['session']>().toEqualTypeOf<null>()
  expectTypeOf<Extract<State, { status: 'loading' }>['session']>().toEqualTypeOf<undefined>()
})

test('the server part', () => {
  expectTypeOf(createVerifier).returns.toEqualTypeOf<Verifier>()
  expectTypeOf(createVerifier).toBeCallableWith({ issuer: 'https://id.example.com', audience: 'https://api.example.com' })
  expectTypeOf<Verifier['verify']>().returns.resolves.toEqualTypeOf<AccessToken>()
  expectTypeOf<AccessToken['acr']>().toEqualTypeOf<string | undefined>()
  expectTypeOf<AccessToken['scopes']>().toEqualTypeOf<readonly string[]>()
  expectTypeOf(requireScope).returns.toEqualTypeOf<Requirement>()
  expectTypeOf(createResourceServer).returns.toEqualTypeOf<ResourceServer>()
  expectTypeOf<ResourceServer['check']>().parameters.toEqualTypeOf<[Headers, ...Requirement[]]>()
  // Either the token or the response.
  type Check = Awaited<ReturnType<ResourceServer['check']>>
  expectTypeOf<Extract<Check, { response?: undefined }>['token']>().toEqualTypeOf<AccessToken>()
  for (const middleware of [express, fastify, hono]) {
    expectTypeOf(middleware.requireToken).parameters.toEqualTypeOf<[ResourceServer, ...Requirement[]]>()
    expectTypeOf(middleware.tokenOf).returns.toEqualTypeOf<AccessToken>()
  }
})

test('a back end and an operator', () => {
  const backend = createBackend({ issuer: 'https://id.example.com', clientId: 'support', clientSecret: 'secret' })
  expectTypeOf(backend.sessions.list).parameters.toEqualTypeOf<[string]>()
  expectTypeOf(backend.introspect).returns.resolves.toHaveProperty('active').toBeBoolean()
  const admin = createAdmin({ server: 'https://admin.example.com', key: 'key' })
  expectTypeOf(admin.GET).toBeCallableWith('/admin/v1/tenants', {})
})
