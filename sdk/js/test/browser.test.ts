import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { kept, openStage, pause, User, type Stage } from './browser.js'

/** How long the long scenarios take, in seconds: `make soak` sets more. */
const SECONDS = Number(process.env['LATCHKEY_SDK_SECONDS'] ?? 65)
/** An access token lives for 30 s, and is replaced up to 12 s before its end. */
const LIFE = 30 - 12

let stage: Stage
beforeAll(async () => {
  stage = await openStage()
})
afterAll(() => stage.stop())

describe.concurrent('in Chromium', { timeout: (SECONDS + 180) * 1000 }, () => {
  test.each([2, 5])('%d tabs that use the session all the time keep it, without a storm of requests', async (tabs) => {
    const user = await User.signIn(stage, `tabs-${tabs}`, tabs)
    const began = Date.now()
    const used = await Promise.all(
      user.tabs.map((tab) =>
        tab.evaluate(async (end) => {
          let calls = 0
          for (; Date.now() < end; calls++) {
            await window.client.getToken()
            await new Promise((resolve) => setTimeout(resolve, 100))
          }
          return calls
        }, began + SECONDS * 1000),
      ),
    )
    expect(await user.verdict()).toEqual(kept(tabs))
    const lives = Math.ceil((Date.now() - began) / 1000 / LIFE)
    console.log(`${tabs} tabs, ${SECONDS} s: ${used.reduce((a, b) => a + b)} calls, ${user.refreshes} refreshes in ${lives} lives, 0 sign-outs`)
    expect(user.refreshes).toBeGreaterThan(1)
    expect(user.refreshes).toBeLessThanOrEqual(tabs * lives)
  })

  test('five tabs that refresh at the same moment, again and again, keep the session', async () => {
    const user = await User.signIn(stage, 'storm', 5)
    for (let round = 0; round < 20; round++) {
      const ids = await Promise.all(user.tabs.map((tab) => tab.evaluate(async () => (await window.client.refreshSession()).id)))
      expect(new Set(ids).size).toBe(1)
    }
    expect(await user.verdict()).toEqual(kept(5))
    const [session] = await stage.server.sessions('storm')
    console.log(`5 tabs, 20 refreshes each at once: ${user.refreshes} requests, generation ${session?.generation}`)
  })

  test.each([['ahead', 5], ['behind', -5]])('a clock that is five hours %s changes nothing', async (name, hours) => {
    const user = await User.signIn(stage, `clock-${name}`, 2, `{ const now = Date.now; Date.now = () => now() + ${hours} * 3600_000 }`)
    await user.tabs[0]!.evaluate(() => window.client.refreshSession())
    const before = user.refreshes
    for (const tab of user.tabs) await tab.evaluate(() => window.client.getToken())
    expect(user.refreshes).toBe(before)
    await pause(20_000)
    for (const tab of user.tabs) await tab.evaluate(() => window.client.getToken())
    expect(await user.verdict()).toEqual(kept(2))
    expect(user.refreshes).toBeGreaterThan(before)
    expect(user.refreshes).toBeLessThanOrEqual(before + 4)
  })

  test('a tab that slept past the end of its token, while another one went on, goes on too', async () => {
    const user = await User.signIn(stage, 'asleep', 2)
    const [sleeper, other] = user.tabs
    const cdp = await user.context.newCDPSession(sleeper!)
    await cdp.send('Page.setWebLifecycleState', { state: 'frozen' })
    for (let i = 0; i < 3; i++) {
      await pause(11_000)
      await other!.evaluate(() => window.client.refreshSession())
    }
    await cdp.send('Page.setWebLifecycleState', { state: 'active' })
    expect(await user.verdict()).toEqual(kept(2))
  })

  test('a device that goes offline past the end of its token comes back signed in', async () => {
    const user = await User.signIn(stage, 'offline', 2)
    await user.context.setOffline(true)
    await user.tabs[0]!.evaluate(() => window.client.getToken()) // still valid
    await pause(32_000)
    const codes = await Promise.all(user.tabs.map((tab) => tab.evaluate(() => window.client.getToken().catch((e: unknown) => [(e as { code: string }).code, (e as { retryable: boolean }).retryable]))))
    expect(codes).toEqual([['unavailable', true], ['unavailable', true]])
    expect(await Promise.all(user.tabs.map((tab) => tab.evaluate(() => window.client.session !== null)))).toEqual([true, true])
    await user.context.setOffline(false)
    await vi.waitFor(() => expect(user.refreshes).toBeGreaterThan(0), { timeout: 10_000 }) // by itself
    expect(await user.verdict()).toEqual(kept(2))
  })

  test('signing out offline is made good when the network is back', async () => {
    const user = await User.signIn(stage, 'sign-out-offline')
    await user.context.setOffline(true)
    await user.tabs[0]!.evaluate(() => window.client.signOut())
    expect(await user.tabs[0]!.evaluate(() => window.client.session)).toBeNull()
    expect(await stage.server.sessions('sign-out-offline')).toHaveLength(1)
    await user.context.setOffline(false)
    await vi.waitFor(async () => expect(await stage.server.sessions('sign-out-offline')).toEqual([]), { timeout: 15_000 })
  })

  test('a hundred reloads in the middle of refreshes keep the session', async () => {
    const user = await User.signIn(stage, 'reloads')
    const [tab] = user.tabs
    await tab!.goto(`${stage.origin}/#refresh`)
    for (let i = 0; i < 100; i++) {
      await tab!.reload({ waitUntil: 'commit' })
      await pause(Math.random() * 120)
    }
    await tab!.goto(`${stage.origin}/?again`)
    await tab!.waitForFunction('window.ready')
    expect(await user.verdict()).toEqual(kept(1))
    console.log(`100 reloads: ${user.refreshes} refreshes`)
  })

  test('effects that run twice exchange a client token once', async () => {
    const user = await User.signIn(stage, 'strict')
    await user.tabs[0]!.evaluate(() => window.client.signOut())
    const tab = await user.open('#none')
    const exchanges: string[] = []
    tab.on('request', (request) => {
      if (request.postData()?.includes('token-exchange')) exchanges.push(request.url())
    })
    const ids = await tab.evaluate(async (token) => {
      const first = window.newClient() // mounts, unmounts and mounts again
      const a = first.createSession(token)
      first.dispose()
      window.client = window.newClient()
      const b = window.client.createSession(token)
      return Promise.all([a.then((s) => s.id, () => ''), b.then((s) => s.id)])
    }, await stage.server.clientToken('strict'))
    expect(exchanges).toHaveLength(1)
    expect(ids[1]).not.toBe('')
    expect(await stage.server.sessions('strict')).toHaveLength(1)
  })

  test('a storage that is cleared under the app gets the session back', async () => {
    const user = await User.signIn(stage, 'cleared', 2)
    await user.tabs[0]!.evaluate(async () => {
      for (const { name = '' } of await indexedDB.databases()) {
        await new Promise((resolve) => (indexedDB.deleteDatabase(name).onsuccess = resolve))
      }
    })
    await user.tabs[0]!.evaluate(() => window.client.refreshSession())
    await user.open()
    expect(await user.verdict()).toEqual(kept(3))
    expect(await user.tabs[0]!.evaluate(() => window.errors)).toEqual([])
  })

  test('a browser without IndexedDB keeps the session in memory, and tells the app', async () => {
    const user = await User.signIn(stage, 'no-idb', 1, `Object.defineProperty(globalThis, 'indexedDB', { value: { open() { throw new Error('denied') } } })`)
    await user.tabs[0]!.evaluate(() => window.client.refreshSession())
    expect(await user.verdict()).toEqual(kept(1))
    expect(await user.tabs[0]!.evaluate(() => window.errors)).toEqual(['storage_unavailable'])
    expect(await user.tabs[0]!.evaluate(() => localStorage.length)).toBe(0)
  })

  test('signing out in one tab signs out the other, also a page that the user goes back to', async () => {
    const user = await User.signIn(stage, 'back', 2)
    const [tab, other] = user.tabs
    await tab!.goto(`${stage.origin}/elsewhere#none`)
    await other!.evaluate(() => window.client.signOut())
    await tab!.goBack()
    await tab!.waitForFunction('window.ready')
    await tab!.waitForFunction(() => window.client.session === null, undefined, { timeout: 5000 })
    expect(await stage.server.sessions('back')).toEqual([])
  })

  test('a step-up in one tab raises the other, and survives refreshes beside it', async () => {
    const user = await User.signIn(stage, 'step-up', 3)
    const [tab, other, third] = user.tabs
    await Promise.all([
      tab!.evaluate((token) => window.client.stepUp(token), await stage.server.clientToken('step-up', { amr: ['otp'] })),
      other!.evaluate(() => window.client.refreshSession()),
      third!.evaluate(() => window.client.refreshSession()),
    ])
    for (const one of user.tabs) await one.waitForFunction(() => window.client.session?.acr === 'urn:latchkey:acr:2', undefined, { timeout: 5000 })
    for (const one of user.tabs) await one.evaluate(() => window.client.refreshSession())
    for (const one of user.tabs) expect(await one.evaluate(() => window.client.session?.acr)).toBe('urn:latchkey:acr:2')
    expect(await user.verdict()).toEqual(kept(3))
  })
})
