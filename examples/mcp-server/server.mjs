// Serves the MCP server at http://localhost:3001/mcp, for the issuer of `latchkey dev`.
import { createServer } from 'node:http'
import { toNodeHandler } from '@modelcontextprotocol/node'
import { createOrders } from './mcp.mjs'

const orders = createOrders({
  url: 'http://localhost:3001/mcp',
  issuer: 'http://localhost:8080',
  audience: 'demo-api', // in production, the URL above
  clientId: 'demo-api',
  clientSecret: 'demo-api-secret-for-development-only',
})
createServer(toNodeHandler(orders)).listen(3001, 'localhost', () => console.log('MCP server: http://localhost:3001/mcp'))
