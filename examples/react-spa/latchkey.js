import { createClient } from '@latchkey/sdk'

// The API's id is the audience of the tokens for it.
export const API = 'demo-api'

export const latchkey = createClient({
  issuer: import.meta.env.VITE_ISSUER ?? 'http://localhost:8080',
  clientId: 'demo-web',
  // The API requires a passkey: ask the user, and return the proof.
  onChallenge: async () => (confirm('Confirm with your passkey.') ? prove(latchkey.session.user.id, 'hwk') : undefined),
})

// Takes the place of an authentication service, which would check a password or a passkey.
export async function prove(user, method) {
  const body = new URLSearchParams({ sub: user, amr: method })
  const response = await fetch('/dev/client-token', { method: 'POST', headers: { Accept: 'text/plain' }, body })
  return response.text()
}
