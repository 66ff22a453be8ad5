import createFetchClient, { type Client } from 'openapi-fetch'
import { isSecure, type Fetch } from '../endpoint.js'
import { LatchkeyError } from '../error.js'
import type { paths } from './admin_api.js'

/** Options of {@link createAdmin}. */
export interface AdminOptions {
  /** The address of `admin_listen`, such as `https://admin.example.com`. */
  server: string
  /** An admin key, which `latchkey admin-keys create` makes on the server. */
  key: string
  /** Default: the global `fetch`. */
  fetch?: Fetch
}

/** A client of the admin API, with the paths of its OpenAPI document: `GET('/admin/v1/tenants', …)`. */
export type Admin = Client<paths>

/**
 * Returns a typed client of the admin API. The key is sent over https only, or over http to the machine's
 * own loopback, and redirects are not followed.
 */
export function createAdmin({ server, key, fetch: fetchWith }: AdminOptions): Admin {
  const url = URL.canParse(server) ? new URL(server) : undefined
  if (!url || !isSecure(url.href)) throw new LatchkeyError('invalid_option', 'createAdmin: server must be an https URL (or http on loopback)')
  if (!key) throw new LatchkeyError('invalid_option', 'createAdmin: key is required')
  return createFetchClient<paths>({
    baseUrl: server.replace(/\/$/, ''),
    headers: { authorization: `Bearer ${key}` },
    redirect: 'manual',
    ...(fetchWith && { fetch: fetchWith }),
  })
}
