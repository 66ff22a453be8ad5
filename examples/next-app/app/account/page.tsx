import { redirect } from 'next/navigation'
import { revokeSession, signOut } from '../../actions'
import { auth, listSessions } from '../../latchkey'
import { TokenLife } from './token-life'

export default async function Account() {
  const { session } = await auth()
  if (!session) redirect('/sign-in?next=/account')
  const devices = await listSessions()
  return (
    <>
      <h1>Account of {session.user.id}</h1>
      <TokenLife />
      <h2>Devices</h2>
      <ul>
        {devices.map(({ id, current, device, lastActiveAt }) => (
          <li key={id}>
            {device.name || device.userAgent}, {lastActiveAt.toLocaleString('en')}{' '}
            {current ? (
              <strong>this device</strong>
            ) : (
              <form action={revokeSession}>
                <input type="hidden" name="id" value={id} />
                <button>Sign out</button>
              </form>
            )}
          </li>
        ))}
      </ul>
      <form action={signOut}>
        <button>Sign out</button>
      </form>
    </>
  )
}
