import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { BrowserContext, Page } from 'playwright-core'
import { pause, type Stage } from './browser.js'

/** What both halves of the comparison can do. */
interface App {
  signIn(clientToken: string): Promise<unknown>
  refresh(): Promise<unknown>
  signOut(): Promise<unknown>
  call(url: string): Promise<Response>
  isSignedIn(): boolean
}

declare global {
  interface Window {
    app: App
  }
}

/** The SDK, or the lines by hand. */
export type Half = 'sdk' | 'hand'

const lines = readFileSync(join(import.meta.dirname, 'fixtures/forty_lines.js'), 'utf8')

/** A user of one half, with two tabs. */
class User {
  refreshes = 0
  readonly stage: Stage
  readonly half: Half
  readonly name: string
  context!: BrowserContext
  tabs: Page[] = []

  constructor(stage: Stage, half: Half, name: string) {
    this.stage = stage
    this.half = half
    this.name = `${half}-${name}`
  }

  async start(init?: string): Promise<[Page, Page]> {
    this.context = await this.stage.browser.newContext()
    this.context.on('request', (request) => {
      if (request.postData()?.includes('grant_type=refresh_token')) this.refreshes++
    })
    if (init) await this.context.addInitScript(init)
    const [tab, other] = [await this.open(), await this.open()]
    await tab.evaluate((token) => window.app.signIn(token), await this.stage.server.clientToken(this.name, { amr: ['pwd'] }))
    await pause(500)
    return [tab, other]
  }

  async open(): Promise<Page> {
    const tab = await this.context.newPage()
    this.tabs.push(tab)
    await tab.goto(`${this.stage.origin}/${this.half === 'hand' ? '#none' : ''}`)
    await tab.waitForFunction('window.ready')
    const { issuer, clientId } = this.stage.server
    if (this.half === 'hand') {
      // As a text, because Vite replaces import().
      const module = `data:text/javascript,${encodeURIComponent(lines)}`
      await tab.evaluate(`import(${JSON.stringify(module)}).then(({ createSession }) => void (window.app = createSession(${JSON.stringify(issuer)}, ${JSON.stringify(clientId)})))`)
      return tab
    }
    await tab.evaluate(async () => {
      const { client } = window
      await client.ready
      window.app = {
        signIn: (token) => client.createSession(token), refresh: () => client.refreshSession(), signOut: () => client.signOut(),
        call: (url) => client.fetch(url), isSignedIn: () => client.session !== null,
      }
    })
    return tab
  }

  /** Calls the API in each tab, and returns the status or the error. */
  call(): Promise<(number | string)[]> {
    return Promise.all(
      this.tabs.map((tab) =>
        tab.evaluate((url) => window.app.call(url).then((response) => response.status, (error: unknown) => String(error)), `${this.stage.server.issuer}/userinfo`),
      ),
    )
  }

  /** Reports whether both tabs can call the API. */
  async works(): Promise<boolean> {
    return (await this.call()).every((status) => status === 200)
  }
}

/** What was measured. */
export interface Outcome {
  survived: boolean
  figures: string
}

/** A fault, and what an app does under it. Those of the first list act on the whole server: run them one after another. */
export const ofTheServer: Record<string, (stage: Stage, half: Half) => Promise<Outcome>> = {
  'an answer is cut every 0.3 s, after the server has committed': async (stage, half) => {
    const user = new User(stage, half, 'cut')
    await user.start()
    const end = Date.now() + 15_000
    const work = Promise.all(
      user.tabs.map((tab) =>
        tab.evaluate(async (until) => {
          let [done, failed] = [0, 0]
          for (; Date.now() < until; done++) {
            await window.app.refresh().catch(() => failed++)
            await new Promise((resolve) => setTimeout(resolve, 100))
          }
          return { done, failed }
        }, end),
      ),
    )
    while (Date.now() < end) {
      await stage.server.control('/answers', { lose: 1 })
      await pause(300)
    }
    await stage.server.control('/answers', { lose: 0 })
    const counts = await work
    const [done, failed] = [counts.reduce((n, c) => n + c.done, 0), counts.reduce((n, c) => n + c.failed, 0)]
    return { survived: failed === 0 && (await user.works()), figures: `${failed} of ${done} calls failed` }
  },

  'an answer arrives after another tab has signed out': async (stage, half) => {
    const user = new User(stage, half, 'late')
    const [tab, other] = await user.start()
    await stage.server.control('/answers', { hold: 1 })
    const slow = tab.evaluate(() => window.app.refresh().then(() => true, () => false))
    await stage.server.control('/answers/held', {})
    await other.evaluate(() => window.app.signOut().catch(() => undefined))
    await stage.server.control('/answers/release', {})
    await slow
    await pause(500)
    const signedIn = await Promise.all(user.tabs.map((page) => page.evaluate(() => window.app.isSignedIn())))
    const count = signedIn.filter(Boolean).length
    return { survived: count === 0, figures: `${count} of 2 tabs show a signed-in user` }
  },

  "one tab's request hangs while another tab needs a token": async (stage, half) => {
    const user = new User(stage, half, 'hang')
    const [tab, other] = await user.start()
    await stage.server.control('/answers', { hold: 1 })
    const slow = tab.evaluate(() => window.app.refresh().catch(() => undefined))
    await stage.server.control('/answers/held', {})
    const began = Date.now()
    const got = await Promise.race([other.evaluate(() => window.app.refresh().then(() => true, () => false)), pause(8000).then(() => false)])
    const took = Date.now() - began
    await stage.server.control('/answers/release', {})
    await slow
    return { survived: got, figures: got ? `the other tab waited ${took} ms` : 'the other tab waited until the end (8 s)' }
  },
}

/** Faults of one user: they can run beside each other. */
export const ofAUser: Record<string, (stage: Stage, half: Half) => Promise<Outcome>> = {
  'both tabs are offline past the end of the token': async (stage, half) => {
    const user = new User(stage, half, 'offline')
    await user.start()
    await user.context.setOffline(true)
    await pause(33_000)
    await user.call()
    await user.context.setOffline(false)
    const works = await user.works()
    return { survived: works, figures: works ? 'both tabs go on' : 'signed out' }
  },

  'the user signs out offline': async (stage, half) => {
    const user = new User(stage, half, 'sign-out')
    const [tab] = await user.start()
    await user.context.setOffline(true)
    await tab.evaluate(() => void window.app.signOut().catch(() => undefined))
    await pause(1000)
    await user.context.setOffline(false)
    let live = await stage.server.sessions(user.name)
    for (const end = Date.now() + 15_000; live.length > 0 && Date.now() < end; await pause(500)) live = await stage.server.sessions(user.name)
    return { survived: live.length === 0, figures: `${live.length} session at the server 15 s after the network was back` }
  },

  "the site's storage is cleared": async (stage, half) => {
    const user = new User(stage, half, 'cleared')
    const [tab] = await user.start()
    const session = await user.context.newCDPSession(tab)
    await session.send('Storage.clearDataForOrigin', { origin: stage.origin, storageTypes: 'all' })
    await pause(1000)
    const works = await user.works()
    return { survived: works, figures: works ? 'both tabs go on' : 'signed out' }
  },

  'the clock is five hours ahead': (stage, half) => clock(stage, half, 5),
  'the clock is five hours behind': (stage, half) => clock(stage, half, -5),

  'a tab sleeps past the end of its token': async (stage, half) => {
    const user = new User(stage, half, 'frozen')
    const [tab, other] = await user.start()
    const session = await user.context.newCDPSession(tab)
    await session.send('Page.enable')
    await session.send('Page.setWebLifecycleState', { state: 'frozen' })
    for (const end = Date.now() + 33_000; Date.now() < end; await pause(2000)) {
      await other.evaluate((url) => window.app.call(url), `${stage.server.issuer}/userinfo`)
    }
    await session.send('Page.setWebLifecycleState', { state: 'active' })
    const works = await user.works()
    return { survived: works, figures: works ? 'both tabs go on' : 'signed out' }
  },
}

async function clock(stage: Stage, half: Half, hours: number): Promise<Outcome> {
  const user = new User(stage, half, `clock${hours}`)
  await user.start(`{ const now = Date.now; Date.now = () => now() + ${hours} * 3600_000 }`)
  for (let i = 0; i < 20; i++) {
    await user.call()
    await pause(1000)
  }
  const works = await user.works()
  return { survived: works && user.refreshes <= 4, figures: `${user.refreshes} refreshes in 20 s` }
}
