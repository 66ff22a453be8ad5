// app.mjs
import { createClient, memoryStorage } from '@latchkey/sdk'

{{if .Dev}}// The demo issuer answers programs, but no pages of other origins.
{{end}}const clientToken = {{if .Dev}}await (await fetch('{{.Issuer}}/dev/client-token', {
  method: 'POST', headers: { Accept: 'text/plain' }, body: new URLSearchParams({ sub: 'alice', amr: 'hwk' }),
})).text(){{else}}process.env.CLIENT_TOKEN // what your authentication service issued for the user{{end}}

// A browser keeps the session in IndexedDB; other programs bring a storage.
const storage = globalThis.indexedDB ? undefined : memoryStorage()
const latchkey = createClient({ issuer: '{{.Issuer}}', clientId: '{{.ID}}', storage })
await latchkey.createSession(clientToken)
const response = await latchkey.fetch('{{.Issuer}}/userinfo') // or your API
console.log(await response.json())
await latchkey.signOut()
