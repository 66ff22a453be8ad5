import { useEffect, useState } from 'react'
import { useSession, useSessions } from '@latchkey/sdk/react'
import { API, latchkey, prove } from './latchkey.js'

export function App() {
  const { status, session, reason } = useSession()
  if (status === 'loading') return null
  if (status === 'signed-out') return <SignIn reason={reason} />
  return (
    <main>
      <h1>Hello, {session.user.id}</h1>
      <button onClick={() => latchkey.signOut()}>Sign out</button>
      <Orders />
      <Transfer />
      <Devices />
    </main>
  )
}

function SignIn({ reason }) {
  const signIn = async (form) => {
    const token = await prove(form.get('user'), 'pwd')
    await latchkey.createSession(token, { audience: ['demo-web', API], deviceName: form.get('device') })
  }
  return (
    <form action={signIn}>
      {reason === 'revoked_by_user' && <p role="alert">You were signed out on another device.</p>}
      <input name="user" defaultValue="alice" aria-label="Name" />
      <input name="device" defaultValue="My browser" aria-label="Device" />
      <button>Sign in</button>
    </form>
  )
}

function Orders() {
  const [orders, setOrders] = useState([])
  useEffect(() => {
    latchkey.fetch('/api/orders', { audience: API }).then((response) => response.json()).then(setOrders)
  }, [])
  return <ul aria-label="Orders">{orders.map((order) => <li key={order}>{order}</li>)}</ul>
}

// The API requires a passkey that was used in the last five minutes. latchkey.fetch asks
// for it (onChallenge), and sends the request again.
function Transfer() {
  const [answer, setAnswer] = useState('')
  const transfer = async () => {
    const response = await latchkey.fetch('/api/transfers', { method: 'POST', audience: API })
    setAnswer(response.ok ? 'Sent.' : 'Nothing was sent.')
  }
  return <p><button onClick={transfer}>Send 5 €</button> <span role="status">{answer}</span></p>
}

function Devices() {
  const { data = [], revoke } = useSessions()
  return (
    <ul aria-label="Devices">
      {data.map(({ id, device, current }) => (
        <li key={id}>
          {device.name} {current ? '(this device)' : <button onClick={() => revoke(id)}>Sign out {device.name}</button>}
        </li>
      ))}
    </ul>
  )
}
