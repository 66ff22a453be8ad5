// Package settings defines the settings of tenants, clients, trusted issuers and
// users, and the rules that validate them. It depends on no database and no file
// format: the configuration file, the admin interfaces and the stored rows all use
// these types and rules.
package settings
