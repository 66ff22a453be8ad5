package models

// initSchema is the first version of the tables. Moments are microseconds
// since 1970 in store time. Columns that a refresh changes are not indexed, so
// that PostgreSQL keeps it a heap-only update.
var initSchema = []string{
	`CREATE TABLE settings (
		name  TEXT PRIMARY KEY,
		value TEXT NOT NULL)`,

	// A lease is held by one node at a time: who prunes, for example.
	`CREATE TABLE leases (
		name       TEXT PRIMARY KEY,
		holder     TEXT NOT NULL,
		expires_at BIGINT NOT NULL)`,

	`CREATE TABLE tenants (
		id                  TEXT PRIMARY KEY,
		signing_algorithm   TEXT NOT NULL,
		acr                 TEXT,
		store_device        BOOLEAN NOT NULL,
		disabled            BOOLEAN NOT NULL,
		sessions_valid_from BIGINT,
		swept_at            BIGINT,
		pruned_at           BIGINT,
		revision            BIGINT NOT NULL,
		created_at          BIGINT NOT NULL,
		updated_at          BIGINT NOT NULL)`,

	`CREATE TABLE clients (
		tenant_id                    TEXT NOT NULL REFERENCES tenants (id),
		id                           TEXT NOT NULL,
		settings                     TEXT NOT NULL,
		secret_digest                {bytes},
		secret_root_version          BIGINT,
		previous_secret_digest       {bytes},
		previous_secret_root_version BIGINT,
		disabled                     BOOLEAN NOT NULL,
		sessions_valid_from          BIGINT,
		swept_at                     BIGINT,
		created_at                   BIGINT NOT NULL,
		updated_at                   BIGINT NOT NULL,
		PRIMARY KEY (tenant_id, id))`,

	`CREATE TABLE trusted_issuers (
		tenant_id           TEXT NOT NULL REFERENCES tenants (id),
		id                  TEXT NOT NULL,
		settings            TEXT NOT NULL,
		sealed_secret       {bytes},
		root_version        BIGINT,
		disabled            BOOLEAN NOT NULL,
		sessions_valid_from BIGINT,
		swept_at            BIGINT,
		created_at          BIGINT NOT NULL,
		updated_at          BIGINT NOT NULL,
		PRIMARY KEY (tenant_id, id))`,

	`CREATE TABLE users (
		tenant_id  TEXT NOT NULL REFERENCES tenants (id),
		sub        TEXT NOT NULL,
		attributes TEXT NOT NULL,
		disabled   BOOLEAN NOT NULL,
		created_at BIGINT NOT NULL,
		updated_at BIGINT NOT NULL,
		PRIMARY KEY (tenant_id, sub))`,

	`CREATE TABLE signing_keys (
		tenant_id    TEXT NOT NULL REFERENCES tenants (id),
		kid          TEXT NOT NULL,
		algorithm    TEXT NOT NULL,
		sealed       {bytes} NOT NULL,
		root_version BIGINT NOT NULL,
		created_at   BIGINT NOT NULL,
		activates_at BIGINT NOT NULL,
		retired_at   BIGINT,
		PRIMARY KEY (tenant_id, kid))`,

	`CREATE TABLE sessions (
		id                         {bytes} PRIMARY KEY,
		tenant_id                  TEXT NOT NULL,
		client_id                  TEXT NOT NULL,
		issuer_id                  TEXT NOT NULL,
		subject                    TEXT NOT NULL,
		created_at                 BIGINT NOT NULL,
		auth_time                  BIGINT NOT NULL,
		last_active_at             BIGINT NOT NULL,
		absolute_expires_at        BIGINT NOT NULL,
		idle_expires_at            BIGINT,
		generation                 BIGINT NOT NULL,
		root_version               BIGINT,
		refresh_digest             {bytes},
		next_digest                {bytes},
		rotated_at                 BIGINT,
		session_token_digest       {bytes},
		session_token_next_digest  {bytes},
		session_token_generation   BIGINT NOT NULL,
		session_token_root_version BIGINT,
		session_token_rotated_at   BIGINT,
		factors                    TEXT NOT NULL,
		session_attributes         TEXT NOT NULL,
		scope                      TEXT NOT NULL,
		audience                   TEXT NOT NULL,
		device_name                TEXT NOT NULL,
		user_agent                 TEXT NOT NULL,
		ip                         TEXT NOT NULL,
		status_index               BIGINT,
		ended_at                   BIGINT,
		end_reason                 TEXT,
		prune_at                   BIGINT NOT NULL){fill}`,
	`CREATE INDEX sessions_user ON sessions (tenant_id, subject, client_id)`,
	`CREATE INDEX sessions_prune ON sessions (prune_at)`,

	// Client tokens that have been spent, until they are too old to be accepted.
	`CREATE TABLE spent_tokens (
		tenant_id  TEXT NOT NULL,
		issuer     TEXT NOT NULL,
		jti_digest {bytes} NOT NULL,
		expires_at BIGINT NOT NULL,
		PRIMARY KEY (tenant_id, issuer, jti_digest))`,
	`CREATE INDEX spent_tokens_prune ON spent_tokens (expires_at)`,

	// Access tokens without a session that were revoked, until they expire.
	`CREATE TABLE revoked_tokens (
		tenant_id  TEXT NOT NULL,
		jti        TEXT NOT NULL,
		client_id  TEXT NOT NULL,
		revoked_at BIGINT NOT NULL,
		expires_at BIGINT NOT NULL,
		PRIMARY KEY (tenant_id, jti))`,
	`CREATE INDEX revoked_tokens_prune ON revoked_tokens (expires_at)`,

	// Append-only. The id begins with the moment and ends in chance: no sequence.
	`CREATE TABLE events (
		id         {bytes} PRIMARY KEY,
		at         BIGINT NOT NULL,
		tenant_id  TEXT NOT NULL,
		type       TEXT NOT NULL,
		session_id {bytes},
		client_id  TEXT,
		issuer_id  TEXT,
		subject    TEXT,
		details    TEXT NOT NULL)`,
	`CREATE INDEX events_at ON events (at)`,
	`CREATE INDEX events_session ON events (session_id) WHERE session_id IS NOT NULL`,
}

// removalSchema lets clients and issuers be removed for good, keys be rotated
// on a schedule, root secrets follow each other, and the replay of a client
// token be recorded once.
var removalSchema = []string{
	`CREATE TABLE roots (
		version      BIGINT PRIMARY KEY,
		issues_since BIGINT NOT NULL)`,
	`ALTER TABLE tenants ADD COLUMN key_rotation BIGINT`, // microseconds; NULL: the default; 0: never
	`ALTER TABLE clients ADD COLUMN removed_at BIGINT`,   // the row goes when its sessions have been ended
	`ALTER TABLE trusted_issuers ADD COLUMN removed_at BIGINT`,
	`ALTER TABLE spent_tokens ADD COLUMN replayed_at BIGINT`, // first time
}

// revocationSchema lets nodes follow revocations without reading the rest of
// the log, and records until when each revocation matters.
var revocationSchema = []string{
	`ALTER TABLE events ADD COLUMN until BIGINT`, // of a revocation: when the last affected access token expires
	`CREATE INDEX events_revoking ON events (id) WHERE until IS NOT NULL`,
	`CREATE INDEX events_until ON events (until, id) WHERE until IS NOT NULL`,
	`ALTER TABLE clients ADD COLUMN access_ttl BIGINT`,
	`ALTER TABLE clients ADD COLUMN longer_access_ttl BIGINT`, // the longest before, for a day
	`ALTER TABLE clients ADD COLUMN longer_until BIGINT`,
}

// assuranceSchema stores the class that a session's factors reached by the
// tenant's own rules, and lets device data be deleted. A release that does not
// know these columns computes acr by the default rules and continues to store
// devices.
var assuranceSchema = []string{
	`ALTER TABLE sessions ADD COLUMN acr TEXT`,
	`ALTER TABLE tenants ADD COLUMN forget_devices_at BIGINT`,
}

// statusSchema gives sessions entries of status lists. A session's status_index
// holds the number of the list, times statusStride, plus the index in it.
var statusSchema = []string{
	`CREATE TABLE status_lists (
		tenant_id TEXT NOT NULL REFERENCES tenants (id),
		list      BIGINT NOT NULL,
		size      BIGINT NOT NULL,
		opened_at BIGINT NOT NULL,
		ended_at  BIGINT,
		PRIMARY KEY (tenant_id, list))`,
	`CREATE UNIQUE INDEX sessions_status ON sessions (tenant_id, status_index) WHERE status_index IS NOT NULL`,
	// The invalid entries are read from this index alone.
	`CREATE INDEX sessions_status_ended ON sessions (tenant_id, status_index, ended_at) WHERE status_index IS NOT NULL AND ended_at IS NOT NULL`,
}

// suspensionSchema lets tenants, clients, issuers and users be suspended. The
// record identifies its object by a keyed digest, so that it can outlive the
// row. Statements use the column suspended_at of the row.
var suspensionSchema = []string{
	`CREATE TABLE suspensions (
		tenant_id    TEXT NOT NULL,
		noun         TEXT NOT NULL,
		id_digest    {bytes} NOT NULL,
		suspended_at BIGINT NOT NULL,
		suspended_by TEXT NOT NULL,
		role         TEXT NOT NULL,
		reason       TEXT NOT NULL,
		PRIMARY KEY (tenant_id, noun, id_digest))`,
	// The key of those digests, in one row, sealed under a root secret.
	`CREATE TABLE suspension_keys (
		id           BIGINT PRIMARY KEY,
		sealed       {bytes} NOT NULL,
		root_version BIGINT NOT NULL)`,
	`ALTER TABLE tenants ADD COLUMN suspended_at BIGINT`,
	`ALTER TABLE clients ADD COLUMN suspended_at BIGINT`,
	`ALTER TABLE trusted_issuers ADD COLUMN suspended_at BIGINT`,
	`ALTER TABLE users ADD COLUMN suspended_at BIGINT`,
	`CREATE INDEX users_suspended ON users (tenant_id, sub) WHERE suspended_at IS NOT NULL`,
}

// lateRetrySchema lets a used refresh token be accepted after its retry window.
// A release that does not know these columns ends the session instead.
var lateRetrySchema = []string{
	`ALTER TABLE sessions ADD COLUMN previous_root_version BIGINT`, // of the refresh token that the current one was rotated from
	`ALTER TABLE sessions ADD COLUMN late_retry_generation BIGINT`, // of the successor that was returned late
	`ALTER TABLE sessions ADD COLUMN late_retried_at BIGINT`,
	`ALTER TABLE sessions ADD COLUMN late_retry_repeats BIGINT`, // repetitions more than a minute after that
}

// attributeSourceSchema records who set each attribute of a user, and since
// when each trusted issuer maps a name. A release that does not know the
// columns leaves them as they are.
var attributeSourceSchema = []string{
	`ALTER TABLE users ADD COLUMN attribute_sources TEXT NOT NULL DEFAULT '{}'`,
	`ALTER TABLE trusted_issuers ADD COLUMN mapped_since TEXT`,
}

// stepUpSchema lets a step-up replace both handles of its session and be
// repeated with its client token. A release that does not know these columns
// leaves them as they are; they contain the generation that they refer to.
var stepUpSchema = []string{
	`ALTER TABLE sessions ADD COLUMN step_up_generation BIGINT`, // of the refresh token that the last step-up made
	`ALTER TABLE sessions ADD COLUMN step_up_tokens {bytes}`,    // digests of its client tokens, until a handle is used
	`ALTER TABLE sessions ADD COLUMN step_up_before TEXT`,       // the assurance of the session before, until then
	`ALTER TABLE sessions ADD COLUMN superseded_from BIGINT`,    // generations that were replaced without having been presented
	`ALTER TABLE sessions ADD COLUMN superseded_to BIGINT`,
}

// supersededSchema stores the earlier ranges of generations that step-ups
// replaced without having received them; superseded_from and superseded_to hold
// the last range. A release that does not know the column leaves it as it is.
var supersededSchema = []string{`ALTER TABLE sessions ADD COLUMN superseded_earlier TEXT`}

// proofSchema stores when each class that the tenant defines was last proved. A
// release that does not know the column uses acr and auth_time.
var proofSchema = []string{`ALTER TABLE sessions ADD COLUMN acr_times TEXT`}

// userDeletionSchema stores a deleted user until every event about them has
// been rewritten.
var userDeletionSchema = []string{
	`CREATE TABLE user_deletions (
		pseudonym  TEXT PRIMARY KEY,
		tenant_id  TEXT NOT NULL,
		sub        TEXT NOT NULL,
		deleted_at BIGINT NOT NULL)`,
}

// sessionCountSchema stores how many sessions each tenant has. An empty table
// of sessions counts as counted; any other is counted at the next occasion.
var sessionCountSchema = []string{
	`CREATE TABLE session_counts (
		tenant_id TEXT NOT NULL,
		node      TEXT NOT NULL, -- empty: the table was counted
		hour      BIGINT NOT NULL,
		n         BIGINT NOT NULL,
		PRIMARY KEY (tenant_id, node, hour)){fill}`,
	`INSERT INTO session_counts (tenant_id, node, hour, n) SELECT '', '', 0, 0 WHERE NOT EXISTS (SELECT 1 FROM sessions)`,
}

// userRetentionSchema lets users be deleted who no longer sign in. Users who
// exist already count as seen at the migration, and so do those that an earlier
// release creates after it. The index leaves out users who are always kept; its
// condition is unnamedUser.
var userRetentionSchema = []string{
	`ALTER TABLE tenants ADD COLUMN user_retention BIGINT`,               // microseconds; NULL or 0: forever
	`ALTER TABLE users ADD COLUMN seen_at BIGINT NOT NULL DEFAULT {now}`, // last sign-in or end of a session, up to two weeks earlier
	`ALTER TABLE users ADD COLUMN named_at BIGINT`,                       // when a file or an operator first named the user
	`CREATE INDEX users_unseen ON users (tenant_id, seen_at) WHERE named_at IS NULL AND suspended_at IS NULL AND NOT disabled`,
}

// suspensionNameSchema stores the name by which something was suspended, and
// which suspension an entry with another URL follows. A suspension by a release
// that does not know these columns has no name and is found by its digest.
var suspensionNameSchema = []string{
	`ALTER TABLE suspensions ADD COLUMN name TEXT`, // of a user: empty
	`ALTER TABLE suspensions ADD COLUMN follows {bytes}`,
}

// adminKeySchema keeps the keys of the admin API.
var adminKeySchema = []string{
	`CREATE TABLE admin_keys (
		id           TEXT PRIMARY KEY,
		name         TEXT NOT NULL,
		role         TEXT NOT NULL,
		tenants      TEXT, -- JSON; null: all
		digest       {bytes} NOT NULL,
		root_version BIGINT NOT NULL,
		parent_id    TEXT NOT NULL,
		created_by   TEXT NOT NULL,
		created_at   BIGINT NOT NULL,
		expires_at   BIGINT,
		last_used_at BIGINT,
		revoked_at   BIGINT)`,
	`CREATE INDEX admin_keys_created ON admin_keys (created_at, id)`,
}

// searchSchema lets operators list sessions and events without reading whole tables.
// buildIndexes relies on the form of the statements.
var searchSchema = []string{
	`CREATE INDEX IF NOT EXISTS sessions_created ON sessions (tenant_id, created_at, id)`,
	`CREATE INDEX IF NOT EXISTS sessions_client ON sessions (tenant_id, client_id, created_at, id)`,
	`CREATE INDEX IF NOT EXISTS users_sub ON users (tenant_id, sub{bytewise})`,
	`CREATE INDEX IF NOT EXISTS events_tenant ON events (tenant_id, id)`,
	`CREATE INDEX IF NOT EXISTS events_subject ON events (tenant_id, subject, id)`,
}

// statSchema keeps what happened in each tenant by the minute and by the day.
var statSchema = []string{
	`CREATE TABLE stats (
		tenant_id TEXT NOT NULL,
		name      TEXT NOT NULL,
		period    TEXT NOT NULL, -- minute or day
		start     BIGINT NOT NULL, -- Unix time
		node      TEXT NOT NULL,
		n         BIGINT NOT NULL,
		PRIMARY KEY (tenant_id, period, start, name, node)){fill}`,
	`CREATE INDEX stats_start ON stats (period, start)`,
}

// nodeSchema keeps what the running nodes report about themselves.
var nodeSchema = []string{
	`CREATE TABLE nodes (
		id          TEXT PRIMARY KEY,
		name        TEXT NOT NULL,
		version     TEXT NOT NULL,
		started_at  BIGINT NOT NULL,
		seen_at     BIGINT NOT NULL,
		log_read_at BIGINT,
		reason      TEXT NOT NULL){fill}`,
}

// upstreamSchema lets identity providers end sessions, and refuses client tokens
// that were issued before a user was signed out everywhere. A release that does
// not know it neither records nor checks any of this.
var upstreamSchema = []string{
	`ALTER TABLE users ADD COLUMN authenticated_after BIGINT`, // client tokens that were issued up to that second are refused

	// By which sub and sid the trusted issuer knows a user and a session. Only
	// entries that may revoke record them.
	`CREATE TABLE upstream_subjects (
		tenant_id       TEXT NOT NULL,
		issuer_id       TEXT NOT NULL,
		upstream_digest {bytes} NOT NULL, -- SHA-256 of its sub
		sub             TEXT NOT NULL,
		PRIMARY KEY (tenant_id, issuer_id, upstream_digest, sub),
		FOREIGN KEY (tenant_id, sub) REFERENCES users (tenant_id, sub) ON DELETE CASCADE)`,
	`CREATE INDEX upstream_subjects_user ON upstream_subjects (tenant_id, sub)`,
	`ALTER TABLE sessions ADD COLUMN {if new} upstream_sid TEXT`,
	upstreamIndex,

	// What a trusted issuer has ended, for as long as a client token from before
	// could still be exchanged. An exchange locks the row, so that it commits
	// either before the logout or after it.
	`CREATE TABLE upstream_logouts (
		tenant_id  TEXT NOT NULL,
		issuer_id  TEXT NOT NULL,
		digest     {bytes} NOT NULL, -- SHA-256 of the name that the logout gives
		ended_at   BIGINT, -- NULL: nothing was ended
		expires_at BIGINT NOT NULL,
		PRIMARY KEY (tenant_id, issuer_id, digest))`,
	`CREATE INDEX upstream_logouts_prune ON upstream_logouts (expires_at)`,
}

// upstreamIndex is created by buildIndexes, which relies on its form.
const upstreamIndex = `CREATE INDEX IF NOT EXISTS sessions_upstream ON sessions (tenant_id, issuer_id, upstream_sid) WHERE upstream_sid IS NOT NULL`

// destinationSchema has the event destinations of tenants, how far each of them has
// been told, and what waits for it. A release that does not know these tables delivers
// nothing; the events wait.
var destinationSchema = []string{
	`CREATE TABLE event_destinations (
		tenant_id      TEXT NOT NULL,
		id             TEXT NOT NULL,
		settings       TEXT NOT NULL,
		sealed_secret  {bytes},
		root_version   BIGINT NOT NULL,
		sealed_old     {bytes},
		old_root       BIGINT NOT NULL,
		old_until      BIGINT,
		secret_set_at  BIGINT,
		disabled_at    BIGINT,
		disabled_cause TEXT NOT NULL,
		created_at     BIGINT NOT NULL,
		updated_at     BIGINT NOT NULL,
		PRIMARY KEY (tenant_id, id))`,
	`CREATE TABLE event_destination_states (
		tenant_id      TEXT NOT NULL,
		destination_id TEXT NOT NULL,
		told_to        {bytes} NOT NULL, -- id of an event: what is older was accepted or is in event_deliveries
		accepted       {bytes}, -- ids of younger events that were accepted, 16 bytes each
		failing_since  BIGINT,
		last_error     TEXT NOT NULL,
		revision       BIGINT NOT NULL, -- rises when an operator changes the row
		recent         TEXT NOT NULL, -- JSON: the last deliveries
		PRIMARY KEY (tenant_id, destination_id)){fill}`,
	`CREATE TABLE event_deliveries (
		tenant_id      TEXT NOT NULL,
		destination_id TEXT NOT NULL,
		event_id       {bytes} NOT NULL,
		session_id     {bytes},
		type           TEXT NOT NULL,
		attempts       BIGINT NOT NULL,
		first_at       BIGINT, -- NULL: not attempted yet
		next_at        BIGINT,
		dead_at        BIGINT, -- given up
		status         BIGINT NOT NULL, -- of the last answer; 0: none
		error          TEXT NOT NULL,
		answer         TEXT NOT NULL,
		PRIMARY KEY (tenant_id, destination_id, event_id)){fill}`,
}
