// npm install @latchkey/sdk
import { createClient } from '@latchkey/sdk'

const clientToken = {{if .Dev}}await (await fetch('{{.Issuer}}/dev/client-token', {
  method: 'POST', headers: { Accept: 'text/plain' }, body: new URLSearchParams({ sub: 'alice', amr: 'hwk' }),
})).text(){{else}}process.env.CLIENT_TOKEN // what your authentication service issued for the user{{end}}

const latchkey = createClient({ issuer: '{{.Issuer}}', clientId: '{{.ID}}' })
await latchkey.createSession(clientToken)
const response = await latchkey.fetch('{{.Issuer}}/userinfo') // or your API
console.log(await response.json())
await latchkey.signOut()
