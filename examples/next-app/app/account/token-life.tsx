'use client'

import { useEffect, useState } from 'react'

/** Shows how long the access token lives. A script can ask for that, but cannot read the token. */
export function TokenLife() {
  const [seconds, setSeconds] = useState<number>()
  useEffect(() => {
    const load = async () => {
      const response = await fetch('/auth/session', { headers: { 'Latchkey-CSRF': '1' } })
      if (!response.ok) return // for example, Latchkey does not respond: the session is kept
      const { session } = await response.json()
      if (!session) location.assign('/sign-in?next=/account')
      else setSeconds(session.expires_in)
    }
    void load()
    const timer = setInterval(() => void load(), 2000)
    return () => clearInterval(timer)
  }, [])
  return <p data-testid="life">{seconds === undefined ? 'Loading …' : `The access token lives for another ${seconds} s.`}</p>
}
