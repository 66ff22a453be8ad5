// An MCP server whose tools require access tokens of Latchkey.
import { createResourceServer, createVerifier, maxAge, requireScope } from '@latchkey/sdk/server'
import { McpServer, createMcpHandler } from '@modelcontextprotocol/server'

/** What each tool requires of the access token. Every request needs a valid one. */
const requirements = {
  list_orders: [requireScope('orders:read')],
  cancel_order: [requireScope('orders:read'), maxAge(300)],
}

const text = (text) => ({ content: [{ type: 'text', text }] })

/** Returns the MCP server for one request. */
function tools({ authInfo }) {
  const { user } = authInfo.extra
  const server = new McpServer({ name: 'orders', version: '1.0.0' })
  server.registerTool('whoami', { description: 'Returns the id of the user.' }, () => text(user))
  server.registerTool('list_orders', { description: 'Lists the orders of the user.' }, () => text(`${user} has ordered a kettle.`))
  server.registerTool('cancel_order', { description: 'Cancels the last order of the user.' }, () => text(`The kettle of ${user} is canceled.`))
  return server
}

/** Returns the server as a function of web requests. Its URL is that of its MCP endpoint. */
export function createOrders({ url, ...options }) {
  const verifier = createVerifier(options)
  const api = createResourceServer({ verifier, url, scopes: ['orders:read'] })
  const mcp = createMcpHandler(tools)
  return {
    async fetch(request) {
      const metadata = api.serveMetadata(request)
      if (metadata) return metadata
      if (new URL(request.url).pathname !== new URL(url).pathname) return new Response(null, { status: 404 })
      const body = request.method === 'POST' ? await request.clone().json().catch(() => undefined) : undefined
      // Old clients may send several calls in one array.
      const names = [body].flat().map((call) => (call?.method === 'tools/call' ? call.params?.name : undefined))
      const needs = names.flatMap((name) => (Object.hasOwn(requirements, name) ? requirements[name] : []))
      const { token, response } = await api.check(request.headers, ...needs)
      if (response) return response
      // Tools must not forward the token of the user, so they do not get it.
      const authInfo = { token: '', clientId: token.clientId, scopes: [...token.scopes], extra: { user: token.subject } }
      return mcp.fetch(request, { authInfo })
    },
    async close() {
      verifier.close()
      await mcp.close()
    },
  }
}
