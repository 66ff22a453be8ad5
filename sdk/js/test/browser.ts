import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core'
import { build } from 'vite'
import type { Client, SessionChange } from '../src/index.js'
import { startServer, type TestServer } from './server.js'

/** What the page of the tests offers to them. */
declare global {
  interface Window {
    sdk: typeof import('../src/index.js')
    client: Client
    changes: SessionChange[]
    errors: string[]
    newClient(): Client
  }
}

/** A browser, the app's page, and a server that lists its origin. */
export interface Stage {
  browser: Browser
  server: TestServer
  origin: string
  stop(): Promise<void>
}

const page = (issuer: string, clientId: string) => `<!doctype html><title>App</title><script type="module">
  import * as sdk from '/sdk.js'
  window.sdk = sdk
  window.changes = []
  window.errors = []
  window.newClient = () => {
    const client = sdk.createClient({ issuer: ${JSON.stringify(issuer)}, clientId: ${JSON.stringify(clientId)}, onError: (error) => window.errors.push(error.code) })
    client.onSessionChange((change) => window.changes.push(change))
    return client
  }
  if (!location.hash.includes('none')) window.client = window.newClient()
  if (location.hash.includes('refresh')) void window.client.refreshSession()
  window.ready = true
</script>`

/** Starts a stage whose access tokens live for 30 s. `app` is a script of this folder that replaces the page's own. */
export async function openStage(app?: string): Promise<Stage> {
  const result = await build({
    configFile: false,
    logLevel: 'error',
    build: { write: false, minify: false, target: 'es2022', modulePreload: false, rolldownOptions: { input: join(import.meta.dirname, app ?? '../src/index.ts'), preserveEntrySignatures: 'strict' } },
  })
  const sdk = (result as { output: { code: string }[] }).output[0]!.code
  let text = ''
  const http = createServer((request, response) => {
    const isSdk = request.url === '/sdk.js'
    response.writeHead(200, { 'content-type': isSdk ? 'text/javascript' : 'text/html' }).end(isSdk ? sdk : text)
  })
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  const origin = `http://127.0.0.1:${(http.address() as AddressInfo).port}`
  const server = await startServer('-origin', origin, '-access-token-ttl', '30s')
  text = app ? '<!doctype html><title>App</title><body><script type="module" src="/sdk.js"></script>' : page(server.issuer, server.clientId)
  const browser = await chromium.launch({
    executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--no-first-run'],
    ignoreDefaultArgs: ['--disable-back-forward-cache'],
  })
  return {
    browser, server, origin,
    async stop() {
      await browser.close()
      http.close()
      await server.stop()
    },
  }
}

/** A user with a browser profile of their own, who may have several tabs. */
export class User {
  refreshes = 0
  readonly tabs: Page[] = []
  readonly stage: Stage
  readonly name: string
  readonly context: BrowserContext

  private constructor(stage: Stage, name: string, context: BrowserContext) {
    this.stage = stage
    this.name = name
    this.context = context
    context.on('request', (request) => {
      if (request.postData()?.includes('grant_type=refresh_token')) this.refreshes++
    })
  }

  static async signIn(stage: Stage, name: string, tabs = 1, init?: string): Promise<User> {
    const user = new User(stage, name, await stage.browser.newContext())
    if (init) await user.context.addInitScript(init)
    const tab = await user.open()
    await tab.evaluate((token) => window.client.createSession(token), await stage.server.clientToken(name, { amr: ['pwd'] }))
    while (user.tabs.length < tabs) await user.open()
    return user
  }

  async open(hash = ''): Promise<Page> {
    const tab = await this.context.newPage()
    this.tabs.push(tab)
    await tab.goto(`${this.stage.origin}/${hash}`)
    await tab.waitForFunction('window.ready')
    await tab.evaluate(() => (location.hash.includes('none') ? undefined : window.client.ready))
    return tab
  }

  /** Returns every event by which a tab was told that the session is over. */
  async signOuts(): Promise<SessionChange[]> {
    const lists = await Promise.all(this.tabs.map((tab) => tab.evaluate(() => window.changes)))
    return lists.flat().filter(({ session }) => session === null)
  }

  /** Returns what must hold after every scenario in which nobody signs out. */
  async verdict(): Promise<{ signOuts: number; sessions: number; chains: number; signedIn: boolean[] }> {
    const live = await this.stage.server.sessions(this.name)
    return {
      signOuts: (await this.signOuts()).length,
      sessions: live.length,
      chains: live.reduce((sum, { live_chains }) => sum + live_chains, 0),
      signedIn: await Promise.all(this.tabs.map((tab) => tab.evaluate(async () => (await window.client.getToken()) !== ''))),
    }
  }
}

/** The verdict on a user with a number of tabs. */
export const kept = (tabs: number) => ({ signOuts: 0, sessions: 1, chains: 1, signedIn: Array.from({ length: tabs }, () => true) })

export const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds))
