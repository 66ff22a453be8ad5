// Package testops tests the server with the programs around it: PostgreSQL
// servers that fail over, poolers, proxies.
package testops
