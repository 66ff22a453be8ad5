import { signIn } from '../../actions'
import { auth } from '../../latchkey'

const reasons: Record<string, string> = { revoked_by_user: 'You signed out on another device.' }

export default async function SignIn({ searchParams }: { searchParams: Promise<{ next?: string }> }) {
  const [{ endReason }, { next = '' }] = await Promise.all([auth(), searchParams])
  return (
    <>
      <h1>Sign in</h1>
      {endReason && <p role="status">{reasons[endReason] ?? 'Your session has ended.'}</p>}
      <form action={signIn}>
        <input type="hidden" name="next" value={next} />
        <label>
          User <input name="user" defaultValue="alice" required />
        </label>
        <button>Sign in</button>
      </form>
    </>
  )
}
