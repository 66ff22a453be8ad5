import { createElement } from 'react'
import { renderToString } from 'react-dom/server'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { createClient, memoryStorage } from '../src/index.js'
import { LatchkeyProvider, useSession } from '../src/react/index.js'
import { openStage, type Stage } from './browser.js'

let stage: Stage
beforeAll(async () => {
  stage = await openStage('react_app.tsx')
})
afterAll(() => stage.stop())

test('an app in Strict Mode signs in once, lists devices, and follows what happens elsewhere', async () => {
  const context = await stage.browser.newContext()
  const open = async (token = '') => {
    const page = await context.newPage()
    await page.goto(`${stage.origin}/?${new URLSearchParams({ issuer: stage.server.issuer, token }).toString()}`)
    return page
  }
  const exchanges: string[] = []
  context.on('request', (request) => {
    if (request.postData()?.includes('token-exchange')) exchanges.push(request.url())
  })
  const page = await open(await stage.server.clientToken('alice'))
  await page.waitForFunction(() => document.querySelector('#status')?.textContent === 'signed-in alice')
  await page.waitForFunction(() => document.querySelector('#token')?.textContent === 'some')
  expect(await stage.server.sessions('alice')).toHaveLength(1)
  await page.reload() // the client token is still in the URL
  await page.waitForFunction(() => document.querySelector('#status')?.textContent === 'signed-in alice')
  expect(await stage.server.sessions('alice')).toHaveLength(1)
  expect(exchanges).toHaveLength(1)

  const device = createClient({ issuer: stage.server.issuer, clientId: 'web', storage: memoryStorage(), autoRefresh: false })
  await device.createSession(await stage.server.clientToken('alice'), { deviceName: 'Phone' })
  await page.reload()
  await page.locator('li:has-text("Phone") button').click()
  await vi.waitFor(async () => expect(await stage.server.sessions('alice')).toHaveLength(1))
  await page.waitForFunction(() => document.querySelectorAll('li').length === 1)

  const other = await open()
  await other.waitForFunction(() => document.querySelector('#status')?.textContent === 'signed-in alice')
  await other.locator('#sign-out').click()
  for (const tab of [page, other]) await tab.waitForFunction(() => document.querySelector('#status')?.textContent === 'signed-out')
  for (const tab of [page, other]) await tab.waitForFunction(() => document.querySelector('#token')?.textContent === 'none')
  expect(await stage.server.sessions('alice')).toEqual([])
}, 60_000)

test('the reason for which the server ended a session arrives at the app', async () => {
  const page = await (await stage.browser.newContext()).newPage()
  await page.goto(`${stage.origin}/?${new URLSearchParams({ issuer: stage.server.issuer, token: await stage.server.clientToken('bob') }).toString()}`)
  await page.waitForFunction(() => document.querySelector('#status')?.textContent === 'signed-in bob')
  const device = createClient({ issuer: stage.server.issuer, clientId: 'web', storage: memoryStorage(), autoRefresh: false })
  await device.createSession(await stage.server.clientToken('bob'))
  await device.signOut({ scope: 'others' })
  await page.evaluate(() => window.client.refreshSession().catch(() => undefined))
  await page.waitForFunction(() => document.querySelector('#status')?.textContent === 'signed-out revoked_by_user')
}, 60_000)

test('a server renders the state before the storage was read', () => {
  const client = createClient({ issuer: 'https://id.example.com', clientId: 'web' })
  const Status = () => createElement('p', null, useSession().status)
  expect(renderToString(createElement(LatchkeyProvider, { client }, createElement(Status)))).toBe('<p>loading</p>')
  expect(() => renderToString(createElement(Status))).toThrow('LatchkeyProvider')
})
