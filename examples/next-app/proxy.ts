// Refreshes the session before a page is rendered.
export { proxy } from './latchkey'

export const config = { matcher: ['/((?!_next/static|_next/image|favicon.ico).*)'] }
