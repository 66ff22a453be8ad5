// Package testops tests the server with what stands around it: PostgreSQL
// servers that fail over, poolers, proxies.
package testops
