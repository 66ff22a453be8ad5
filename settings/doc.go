// Package settings is what an operator may say of tenants, clients, trusted
// issuers and users, and what can be wrong with it. It knows no database and no
// file format: the configuration file, the admin interfaces and the stored rows
// all use these types and these rules.
package settings
