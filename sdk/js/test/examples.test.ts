import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { createServer as createListener, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium, type Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { createServer, type ViteDevServer } from 'vite'

const root = join(import.meta.dirname, '../../..')
const children: ChildProcess[] = []
let folder: string
let vite: ViteDevServer | undefined
let browser: Browser | undefined

async function freePort(): Promise<number> {
  const listener = createListener()
  await new Promise<void>((resolve) => listener.listen(0, 'localhost', resolve))
  const { port } = listener.address() as AddressInfo
  await new Promise<void>((resolve) => listener.close(() => resolve()))
  return port
}

async function start(command: string, args: string[], env: Record<string, string>, ready: string): Promise<void> {
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: 'ignore' })
  children.push(child)
  await vi.waitFor(async () => expect((await fetch(ready)).status).toBe(200), { timeout: 60_000, interval: 200 })
}

/** Runs the examples as a developer does: `latchkey dev`, the API, and the page with Vite. The SDK is installed as its package has it. */
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'latchkey-examples-'))
  const modules = join(folder, 'node_modules')
  const sdk = join(modules, '@latchkey/sdk')
  mkdirSync(sdk, { recursive: true })
  copyFileSync(join(import.meta.dirname, '../package.json'), join(sdk, 'package.json'))
  execFileSync(join(import.meta.dirname, '../node_modules/.bin/tsdown'), ['--no-dts', '--out-dir', join(sdk, 'dist')], { cwd: join(import.meta.dirname, '..'), stdio: 'ignore' })
  for (const name of ['express', 'react', 'react-dom', 'jose', 'openapi-fetch', 'vite']) symlinkSync(join(import.meta.dirname, '../node_modules', name), join(modules, name))
  for (const name of ['react-spa', 'express-api']) cpSync(join(root, 'examples', name), join(folder, name), { recursive: true })

  const program = join(folder, 'latchkey')
  execFileSync('go', ['build', '-o', program, './cmd/latchkey'], { cwd: root, stdio: 'inherit' })
  const [port, api] = [await freePort(), await freePort()]
  const issuer = `http://localhost:${port}`
  await start(program, ['dev', '--data', folder, '--listen', `127.0.0.1:${port}`], { LATCHKEY_METRICS_LISTEN: 'none' }, `${issuer}/readyz`)
  await start(process.execPath, [join(folder, 'express-api/server.mjs')], { ISSUER: issuer, PORT: String(api) }, `http://localhost:${api}/healthz`)
  process.env['VITE_ISSUER'] = issuer
  process.env['API'] = `http://localhost:${api}`
  vite = await createServer({ root: join(folder, 'react-spa'), configFile: join(folder, 'react-spa/vite.config.mjs'), logLevel: 'error', server: { fs: { strict: false } } })
  await vite.listen()
  browser = await chromium.launch({ executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu', '--no-first-run'] })
}, 240_000)
afterAll(async () => {
  await browser?.close()
  await vite?.close()
  for (const child of children) child.kill()
  rmSync(folder, { recursive: true, force: true })
})

test('examples/react-spa and examples/express-api work together', { timeout: 120_000 }, async () => {
  const open = async (device: string) => {
    const page = await (await browser!.newContext()).newPage()
    page.setDefaultTimeout(30_000)
    await page.goto('http://localhost:5173')
    await page.getByLabel('Device').fill(device)
    await page.getByRole('button', { name: 'Sign in' }).click()
    await page.getByRole('heading', { name: 'Hello, alice' }).waitFor()
    return page
  }
  const phone = await open('Phone')
  await phone.getByText('Tea for alice').waitFor()
  phone.once('dialog', (dialog) => void dialog.dismiss())
  await phone.getByRole('button', { name: 'Send 5 €' }).click()
  await phone.getByText('Nothing was sent.').waitFor()
  phone.once('dialog', (dialog) => void dialog.accept())
  await phone.getByRole('button', { name: 'Send 5 €' }).click()
  await phone.getByText('Sent.', { exact: true }).waitFor()
  await phone.reload()
  await phone.getByText('Phone (this device)').waitFor()

  const laptop = await open('Laptop')
  await laptop.getByRole('button', { name: 'Sign out Phone' }).click()
  await laptop.getByRole('button', { name: 'Sign out Phone' }).waitFor({ state: 'detached' })
  await expect.poll(async () => {
    await phone.getByRole('button', { name: 'Send 5 €' }).click({ timeout: 1000 }).catch(() => undefined)
    return phone.getByText('You were signed out on another device.').isVisible()
  }, { timeout: 30_000, interval: 500 }).toBe(true)
  await laptop.getByRole('button', { name: 'Sign out', exact: true }).click()
  await laptop.getByRole('button', { name: 'Sign in' }).waitFor()
})
