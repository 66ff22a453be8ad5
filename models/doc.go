// Package models stores the data of a deployment: the rows of the tables, the
// statements and transactions that read and change them, and the migrations. It
// is the only room that imports GORM and the database drivers. It runs on
// PostgreSQL and on SQLite.
//
// [Store] is the database. Its methods return [ErrNotFound], [ErrConflict],
// [ErrUnavailable] or another error of this package where callers need to tell
// them apart. Its package tail follows the revocations in the event log.
//
// Secrets, keys and digests are opaque bytes here; package oauth derives and
// interprets them.
package models

// Where things are:
//
// The database:
//   - store.go: Store, and how queries and transactions run and are retried
//   - dialect.go, postgres.go: the two engines
//   - connection.go, primary.go, peek*.go: pooled connections, which must lead to
//     the primary
//   - probe.go, contact.go: outages; clock.go: the time of the database
//   - errors.go, driver_error.go: errors of the drivers, translated and made safe
//     to log
//   - node.go: what the running nodes report
//   - migrate.go, schema*.go: migrations; upgrade_rows.go: rows of earlier releases
//   - inspect.go: facts about the server for operators
//   - row.go, collect.go, time.go, object.go: rows, times and JSON objects as Go
//     values
//
// Configuration:
//   - tenant.go, client.go, issuer.go, issuer_name.go, key.go: the rows
//   - apply.go: Apply; apply_*.go: what it plans and writes for each kind of
//     object, and apply_file.go the file of serve
//   - access_life.go: how long access tokens of a client may still be valid
//   - stored.go: the configuration as it is stored, with versions
//   - change.go, loosen.go: the changes as operators read them
//   - audit.go: the events of changes; admin_key.go: keys of the admin API;
//     console_session.go: who is signed in to the console
//   - root.go: what each root secret is needed for, and moving rows to another one
//   - suspension*.go: suspending and resuming
//
// Users:
//   - user.go, user_list.go, user_change.go, user_named.go: users; attribute.go: who
//     set which attribute
//   - user_delete.go, user_deletion.go: deleting users, also from the event log
//   - user_retention.go: deleting users who no longer sign in; user_search.go: finding users by
//     an attribute
//
// Sessions:
//   - session.go, session_row.go: the row, refresh and end
//   - session_create.go: what an exchange writes
//   - session_step_up.go, step_up.go, generations.go: step-ups
//   - session_touch.go, session_extend.go, session_attributes.go,
//     session_late_retry.go, shared_refresh.go: other changes of one session
//   - session_list.go, session_search.go, session_count.go: finding, ending and
//     counting sessions
//   - status_entry.go, status_list.go, status_list_end.go: status lists
//   - token.go: access tokens without a session
//
// Events and revocations:
//   - event.go, event_name.go, event_count.go, event_once.go, event_list.go: the
//     event log
//   - stat.go: numbers of exchanges and refreshes over time
//   - revocation.go: the events that revoke tokens
//   - package tail: what a node knows of them without the database
//   - recent.go: revocations that this node is just making
//   - restored.go: a database that was restored from a backup
//
// Maintenance:
//   - prune.go, prune_events.go: leases, and what is too old; sweep.go: sessions of disabled objects
//   - forget_device.go: device data that a tenant no longer stores
