'use server'

import { localPath } from '@latchkey/sdk/next'
import { revalidatePath } from 'next/cache'
import { redirect } from 'next/navigation'
import * as latchkey from './latchkey'

/** Stands for your authentication service, which returns a client token after it has checked the user. */
async function authenticate(user: string, method: string): Promise<string> {
  const response = await fetch(process.env.AUTHENTICATION_URL!, {
    method: 'POST', headers: { accept: 'text/plain' }, body: new URLSearchParams({ sub: user, amr: method }), cache: 'no-store',
  })
  if (!response.ok) throw new Error(`no client token: ${response.status}`)
  return response.text()
}

export async function signIn(form: FormData) {
  const clientToken = await authenticate(String(form.get('user')), 'pwd')
  await latchkey.signIn(clientToken, { deviceName: 'Next.js example' })
  redirect(localPath(form.get('next'), '/account'))
}

export async function stepUp() {
  const { session } = await latchkey.auth()
  if (!session) redirect('/sign-in')
  await latchkey.stepUp(await authenticate(session.user.id, 'otp'))
  redirect('/transfer')
}

export async function signOut() {
  await latchkey.signOut()
  redirect('/')
}

export async function revokeSession(form: FormData) {
  await latchkey.revokeSession(String(form.get('id')))
  revalidatePath('/account')
}
