// What the packed SDK has to do in every runtime, against the server of the tests.
import { createClient, memoryStorage } from '@latchkey/sdk'
import { createVerifier } from '@latchkey/sdk/server'

const AUDIENCE = 'https://api.example.com'

/** Returns a line for each thing that works, and throws at the first one that does not. */
export async function check({ issuer, control, backend }) {
  const passed = []
  const post = (path, body) => fetch(control + path, { method: 'POST', body: JSON.stringify(body) })
  const signIn = async () => {
    const { token } = await (await post('/client-token', { sub: 'alice', claims: { amr: ['pwd'] } })).json()
    const client = createClient({ issuer, clientId: 'web', storage: memoryStorage(), autoRefresh: false })
    await client.createSession(token, { audience: ['web', AUDIENCE] })
    return client
  }
  const expect = (holds, what) => {
    if (!holds) throw new Error(`failed: ${what}`)
  }

  const client = await signIn()
  const first = await client.getToken()
  await client.refreshSession()
  expect((await client.getToken()) !== first, 'a refresh replaces the token')
  expect((await client.listSessions()).some(({ current }) => current), 'the session is listed')
  await client.signOut()
  expect(client.session === null, 'nobody is signed in after the sign-out')
  passed.push('sign-in, refresh, sign-out')

  for (const revocation of ['feed', 'introspection', 'none', 'status-list']) {
    let offset = 0
    const verifier = createVerifier({ issuer, audience: AUDIENCE, ...backend, revocation, clock: { now: () => Date.now() + offset }, logger: () => undefined })
    const outcome = (token) => verifier.verify(token).then(() => 'accepted', (error) => error.code)
    const [ending, other] = [await signIn(), await signIn()]
    const token = await ending.getToken({ audience: AUDIENCE })
    expect((await outcome(token)) === 'accepted', `${revocation} accepts a token`)
    await ending.signOut()
    if (revocation === 'status-list') {
      offset = 61_000 // the list is fetched again after 60 s
      await post('/clock', { advance: '61s' })
    }
    if (revocation === 'none') {
      expect((await outcome(token)) === 'accepted', 'none accepts a token until it expires')
    } else {
      for (let i = 0; (await outcome(token)) !== 'invalid_token'; i++) {
        expect(i < 200, `${revocation} rejects a token of a session that has ended`)
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }
    expect((await outcome(await other.getToken({ audience: AUDIENCE }))) === 'accepted', `${revocation} accepts a token of another session`)
    await other.signOut()
    verifier.close()
    passed.push(`verification with ${revocation}`)
  }
  return passed
}
