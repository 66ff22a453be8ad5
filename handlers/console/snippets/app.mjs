// app.mjs
import { createClient, memoryStorage } from '@latchkey/sdk'

{{if .Dev}}// The demo issuer answers programs, but no pages of other origins.
{{end}}const clientToken = {{if .Dev}}await (await fetch('{{.Issuer}}/dev/client-token', {
  method: 'POST', headers: { Accept: 'text/plain' }, body: new URLSearchParams({ sub: 'alice', amr: 'hwk' }),
})).text(){{else}}process.env.CLIENT_TOKEN // what your authentication service issued for the user{{end}}

// A browser keeps the session in IndexedDB; other programs bring a storage.
const storage = globalThis.indexedDB ? undefined : memoryStorage()
const latchkey = createClient({ issuer: '{{.Issuer}}', clientId: '{{.ID}}', storage })
await latchkey.createSession(clientToken{{if .API}}, { audience: ['{{.ID}}', {{printf "%q" .API}}] }{{end}})
const response = await latchkey.fetch('{{.Issuer}}/userinfo'){{if not .API}} // or your API{{end}}
console.log(await response.json())
{{- if .API}}
// const orders = await latchkey.fetch('https://…', { audience: {{printf "%q" .API}} }) // your API
{{- end}}
await latchkey.signOut()
