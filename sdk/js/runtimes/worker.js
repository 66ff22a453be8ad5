// For workerd: the server is described by the body of the request.
import { check } from './check.js'

export default {
  async fetch(request) {
    try {
      return Response.json(await check(await request.json()))
    } catch (error) {
      return new Response(String(error?.stack ?? error), { status: 500 })
    }
  },
}
