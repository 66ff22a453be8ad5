import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

/** A running test server, with its control port: see `internal/testserver/cmd/control.go`. */
export interface TestServer {
  issuer: string
  clientId: string
  /** The secret client `backend`, which may follow and introspect everything. */
  backend: { clientId: string; clientSecret: string }
  /** The admin API, with a key that may do everything. */
  admin: { server: string; key: string }
  /** With `-bff`: the URL of the app whose back end keeps the tokens. */
  app: string
  /** The URL of the control port. */
  controlUrl: string
  control(path: string, body?: object): Promise<Record<string, unknown>>
  clientToken(sub: string, claims?: object): Promise<string>
  /** The user's live sessions. */
  sessions(sub: string): Promise<{ id: string; live_chains: number; generation: number }[]>
  stop(): Promise<void>
}

/** Starts a test server with its own database. */
export async function startServer(...args: string[]): Promise<TestServer> {
  const child = spawn(process.env['LATCHKEY_TEST_SERVER'] ?? '', args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const line = await new Promise<string>((resolve, reject) => {
    createInterface(child.stdout).once('line', resolve)
    void exited.then(() => reject(new Error('the test server has ended')))
  })
  const started = JSON.parse(line) as { issuer: string; client_id: string; control: string; admin: string; admin_key: string; app?: string }
  const control = async (path: string, body?: object) => {
    const response = await fetch(started.control + path, body ? { method: 'POST', body: JSON.stringify(body) } : {})
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`)
    return (await response.json()) as Record<string, unknown>
  }
  return {
    issuer: started.issuer,
    clientId: started.client_id,
    backend: { clientId: 'backend', clientSecret: 'a-client-secret-for-tests-of-40-characters' },
    admin: { server: started.admin, key: started.admin_key },
    app: started.app ?? '',
    controlUrl: started.control,
    control,
    clientToken: async (sub, claims = {}) => (await control('/client-token', { sub, claims }))['token'] as string,
    sessions: async (sub) => (await control(`/sessions?sub=${encodeURIComponent(sub)}`))['sessions'] as never,
    stop() {
      child.stdin.end()
      return exited
    },
  }
}

/** Moves the server's clock, which stands still by itself, with this machine's. Returns a function that stops it. */
export function followTime(server: TestServer): () => void {
  let at = Date.now()
  const timer = setInterval(() => {
    const seconds = Math.floor((Date.now() - at) / 1000)
    at += seconds * 1000
    if (seconds > 0) void server.control('/clock', { advance: `${seconds}s` })
  }, 250)
  return () => clearInterval(timer)
}
