// The app of react.test.ts.
import { StrictMode, useEffect } from 'react'
import { createRoot } from 'react-dom/client'
import { createClient } from '../src/index.js'
import { LatchkeyProvider, useAccessToken, useLatchkey, useSession, useSessions } from '../src/react/index.js'

const query = new URLSearchParams(location.search)
const client = createClient({ issuer: query.get('issuer') ?? '', clientId: 'web' })
Object.assign(window, { client })

function App() {
  const latchkey = useLatchkey()
  const { status, session, reason } = useSession()
  const token = useAccessToken()
  const { data: sessions, revoke } = useSessions()
  useEffect(() => {
    const clientToken = query.get('token')
    if (clientToken) void latchkey.createSession(clientToken)
  }, [latchkey])
  return (
    <main>
      <p id="status">{[status, session?.user.id, reason].filter(Boolean).join(' ')}</p>
      <p id="token">{token.data === undefined ? 'none' : 'some'}</p>
      <ul>
        {sessions?.map((s) => (
          <li key={s.id} data-current={s.current}>
            {s.device.name} <button onClick={() => void revoke(s.id)}>Sign out</button>
          </li>
        ))}
      </ul>
      <button id="sign-out" onClick={() => void latchkey.signOut()}>
        Sign out
      </button>
    </main>
  )
}

createRoot(document.body.appendChild(document.createElement('div'))).render(
  <StrictMode>
    <LatchkeyProvider client={client}>
      <App />
    </LatchkeyProvider>
  </StrictMode>,
)
