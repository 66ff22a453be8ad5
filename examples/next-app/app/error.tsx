'use client'

// Nothing is known about the session, for example because Latchkey does not respond: do not show the sign-in page.
export default function ErrorPage({ reset }: { reset: () => void }) {
  return (
    <>
      <h1>Please try again</h1>
      <button onClick={reset}>Try again</button>
    </>
  )
}
