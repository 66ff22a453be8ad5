import express from 'express'
import { requireToken, serveMetadata, tokenOf } from '@latchkey/sdk/express'
import { createResourceServer, createVerifier, maxAge, requireAcr, requireScope } from '@latchkey/sdk/server'

const port = Number(process.env.PORT ?? 3000)

// The client of this API at `latchkey dev`. With its secret, the API follows the feed of
// revocations: a session that ends is rejected within a second.
const verifier = createVerifier({
  issuer: process.env.ISSUER ?? 'http://localhost:8080',
  audience: 'demo-api',
  clientId: 'demo-api',
  clientSecret: process.env.API_SECRET ?? 'demo-api-secret-for-development-only',
})
const api = createResourceServer({ verifier, url: `http://localhost:${port}`, scopes: ['orders:read'] })

const app = express()
app.use(serveMetadata(api))

app.get('/api/orders', requireToken(api, requireScope('orders:read')), (req, res) => {
  res.json([`Tea for ${tokenOf(req).subject}`, 'Ginger biscuits'])
})

// Moving money requires a passkey that was used in the last five minutes. Otherwise the
// answer is a 401 that says so (RFC 9470).
app.post('/api/transfers', requireToken(api, requireAcr('phr', 'phrh'), maxAge(300)), (req, res) => {
  res.sendStatus(204)
})

app.get('/healthz', (req, res) => {
  const { error } = verifier.status()
  res.status(error ? 503 : 200).json({ error: error?.message })
})

app.listen(port, 'localhost', () => console.log(`The API listens on http://localhost:${port}`))
