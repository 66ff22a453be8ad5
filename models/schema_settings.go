package models

// sparseSchema stores the settings of a tenant as they were written, gives
// trusted issuers the id that they have in the configuration, lets previous
// secrets end, and records which objects the file of serve owns. A release that
// does not know these columns uses the earlier ones: it pairs trusted issuers
// as it did, and accepts a previous secret until it is removed.
var sparseSchema = []string{
	`ALTER TABLE tenants ADD COLUMN settings TEXT`,
	`ALTER TABLE trusted_issuers ADD COLUMN entry_id TEXT`,
	`CREATE UNIQUE INDEX trusted_issuers_entry ON trusted_issuers (tenant_id, entry_id) WHERE removed_at IS NULL`,
	`ALTER TABLE clients ADD COLUMN previous_secret_until BIGINT`,
	`CREATE TABLE file_nouns (
		tenant_id TEXT NOT NULL,
		noun      TEXT NOT NULL,
		id        TEXT NOT NULL,
		PRIMARY KEY (tenant_id, noun, id))`,
}

// consoleSchema keeps who is signed in to the console, and the links that sign in.
var consoleSchema = []string{
	`CREATE TABLE console_sessions (
		digest         {bytes} PRIMARY KEY,
		key_id         TEXT NOT NULL,
		created_at     BIGINT NOT NULL,
		last_active_at BIGINT NOT NULL,
		flash          TEXT NOT NULL)`,
	`CREATE TABLE console_links (
		digest     {bytes} PRIMARY KEY,
		key_id     TEXT NOT NULL,
		expires_at BIGINT NOT NULL)`,
}
