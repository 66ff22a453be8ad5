import { createNext } from '@latchkey/sdk/next'

export const { proxy, auth, signIn, stepUp, signOut, listSessions, revokeSession, handlers } = createNext({
  issuer: process.env.LATCHKEY_ISSUER!,
  clientId: process.env.LATCHKEY_CLIENT_ID!,
  cookieKeys: process.env.LATCHKEY_COOKIE_KEYS?.split(' '),
  loopback: true, // only for http://localhost
})
