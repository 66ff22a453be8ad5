// Package testadmin tests the admin API over HTTP against the real server. Every
// response, and every request that is meant to be valid, is compared with the OpenAPI
// document of the API.
package testadmin
