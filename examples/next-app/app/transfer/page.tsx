import { maxAge, requireAcr } from '@latchkey/sdk/next'
import { redirect } from 'next/navigation'
import { stepUp } from '../../actions'
import { auth } from '../../latchkey'

export default async function Transfer() {
  const { session, unmet } = await auth(requireAcr('urn:latchkey:acr:2'), maxAge(300))
  if (!session) redirect('/sign-in?next=/transfer')
  if (!unmet) return <h1>{session.user.id} may transfer money</h1>
  return (
    <>
      <h1>One more step</h1>
      <p>A transfer needs a second factor of the last five minutes.</p>
      <form action={stepUp}>
        <button>Use a code</button>
      </form>
    </>
  )
}
