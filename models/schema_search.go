package models

// attributeSearchSchema keeps the searchable attributes of users. A release that does
// not know the table writes attributes without it: the list of a tenant is to be set
// once every node runs a release that does.
var attributeSearchSchema = []string{
	`CREATE TABLE user_attributes (
		tenant_id    TEXT NOT NULL,
		sub          TEXT NOT NULL,
		name         TEXT NOT NULL,
		value_digest {bytes} NOT NULL,
		PRIMARY KEY (tenant_id, sub, name))`,
	`CREATE INDEX user_attributes_value ON user_attributes (tenant_id, name, value_digest, sub{bytewise})`,
	`ALTER TABLE tenants ADD COLUMN searchable_attributes TEXT`, // names as JSON; NULL: none
	`ALTER TABLE tenants ADD COLUMN searchable_ready TEXT`,      // those whose rows are complete
	`ALTER TABLE tenants ADD COLUMN searchable_since BIGINT`,    // when the list changed; NULL: all rows are written
	`ALTER TABLE tenants ADD COLUMN searchable_after TEXT`,      // the sub up to which they are
}

// eventRetentionSchema lets a tenant set how long its events are kept. A release that
// does not know the column deletes events after 90 days.
var eventRetentionSchema = []string{
	`ALTER TABLE tenants ADD COLUMN event_retention BIGINT`, // microseconds; NULL: settings.EventRetention
}

// clientCountSchema stores how many sessions each client has, like session_counts,
// which a release that does not know the table still writes.
var clientCountSchema = []string{
	`CREATE TABLE client_session_counts (
		tenant_id TEXT NOT NULL,
		client_id TEXT NOT NULL,
		node      TEXT NOT NULL, -- empty: the table was counted
		hour      BIGINT NOT NULL,
		n         BIGINT NOT NULL,
		PRIMARY KEY (tenant_id, client_id, node, hour)){fill}`,
	`INSERT INTO client_session_counts (tenant_id, client_id, node, hour, n) SELECT '', '', '', 0, 0 WHERE NOT EXISTS (SELECT 1 FROM sessions)`,
}

// deliverySchema separates the events that wait for a destination from those that were
// given up, of which there may be many more.
var deliverySchema = []string{
	`CREATE INDEX event_deliveries_waiting ON event_deliveries (tenant_id, destination_id, event_id) WHERE dead_at IS NULL`,
	`CREATE INDEX event_deliveries_dead ON event_deliveries (tenant_id, destination_id, event_id) WHERE dead_at IS NOT NULL`,
}

// userSessionsIndex returns the sessions of one user in the order of a list.
const userSessionsIndex = `CREATE INDEX IF NOT EXISTS sessions_subject ON sessions (tenant_id, subject, created_at, id)`

// pageSchema lets pages of one user's sessions and of suspensions be read in their order.
// sessions_subject also serves what sessions_user did. An earlier release does not need the
// indexes that are dropped, but may be slower without them.
var pageSchema = []string{
	userSessionsIndex,
	`DROP INDEX sessions_user`,
	`CREATE INDEX suspensions_at ON suspensions (suspended_at, id_digest)`,
	`CREATE INDEX suspensions_tenant_at ON suspensions (tenant_id, suspended_at, id_digest)`,
	`CREATE INDEX tenants_suspended_at ON tenants (suspended_at) WHERE suspended_at IS NOT NULL`,
	`CREATE INDEX clients_suspended_at ON clients (suspended_at, tenant_id) WHERE suspended_at IS NOT NULL`,
	`CREATE INDEX trusted_issuers_suspended_at ON trusted_issuers (suspended_at, tenant_id) WHERE suspended_at IS NOT NULL`,
	`CREATE INDEX users_suspended_at ON users (suspended_at) WHERE suspended_at IS NOT NULL`,
	`CREATE INDEX users_tenant_suspended_at ON users (tenant_id, suspended_at) WHERE suspended_at IS NOT NULL`,
	`DROP INDEX users_suspended`,
}
