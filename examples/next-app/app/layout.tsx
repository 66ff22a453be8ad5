import type { ReactNode } from 'react'

export const metadata = { title: 'Latchkey with Next.js' }

export default function Layout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <body>
        <nav>
          <a href="/">Home</a> <a href="/account">Account</a> <a href="/transfer">Transfer</a>
        </nav>
        <main>{children}</main>
      </body>
    </html>
  )
}
