import { afterAll, beforeAll, expect, test } from 'vitest'
import { kept, openStage, pause, User, type Stage } from './browser.js'

const SECONDS = Number(process.env['LATCHKEY_SDK_SECONDS'] ?? 65)

// These change what the whole server does: each waits for the one before.
let stage: Stage
beforeAll(async () => {
  stage = await openStage()
})
afterAll(() => stage.stop())

test('two tabs keep the session although every third answer is cut after the server has committed', async () => {
  const user = await User.signIn(stage, 'cut', 2)
  const end = Date.now() + Math.min(SECONDS / 2, 60) * 1000
  let cuts = 0
  const saboteur = (async () => {
    for (; Date.now() < end; cuts++) {
      await stage.server.control('/answers', { lose: 1 })
      await pause(300)
    }
    await stage.server.control('/answers', { lose: 0 })
  })()
  const refreshes = await Promise.all(
    user.tabs.map((tab) =>
      tab.evaluate(async (until) => {
        let count = 0
        for (; Date.now() < until; count++) {
          await window.client.refreshSession()
          await new Promise((resolve) => setTimeout(resolve, 100))
        }
        return count
      }, end),
    ),
  )
  await saboteur
  expect(await user.verdict()).toEqual(kept(2))
  console.log(`2 tabs: ${refreshes.join(' + ')} refreshes, ${user.refreshes} requests, ${cuts} answers cut, 0 sign-outs`)
}, 120_000)

test('a slow answer that arrives after sign-out brings nothing back', async () => {
  const user = await User.signIn(stage, 'slow', 2)
  const [tab, other] = user.tabs
  await stage.server.control('/answers', { hold: 1 })
  const slow = tab!.evaluate(() => window.client.refreshSession().then(() => '', (error: unknown) => (error as { code: string }).code))
  await stage.server.control('/answers/held', {})
  await other!.evaluate(() => window.client.signOut())
  await stage.server.control('/answers/release', {})
  expect(await slow).toBe('not_signed_in')
  for (const one of user.tabs) expect(await one.evaluate(() => window.client.session)).toBeNull()
  await user.open()
  expect(await user.tabs[2]!.evaluate(() => window.client.session)).toBeNull()
  expect(await stage.server.sessions('slow')).toEqual([])
}, 60_000)

test('a page that is closed while the answer to its step-up is lost completes it after a reload', async () => {
  const user = await User.signIn(stage, 'lost-step-up', 1)
  const [tab] = user.tabs
  await stage.server.control('/answers', { hold: 1 })
  void tab!.evaluate((token) => void window.client.stepUp(token), await stage.server.clientToken('lost-step-up', { amr: ['otp'] }))
  await stage.server.control('/answers/held', {})
  await tab!.reload()
  await stage.server.control('/answers/release', {})
  await tab!.waitForFunction('window.ready')
  await tab!.evaluate(() => window.client.getToken())
  expect(await tab!.evaluate(() => window.client.session?.acr)).toBe('urn:latchkey:acr:2')
  expect(await user.verdict()).toEqual(kept(1))
}, 60_000)
