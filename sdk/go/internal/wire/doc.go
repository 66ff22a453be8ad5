// Package wire reads what an issuer publishes and signs: its metadata, its key
// set, and JSON Web Signatures. It is what the packages of apps and of resource
// servers share, and knows neither.
package wire
