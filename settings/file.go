package settings

import "time"

// Values of tenants_at_start: what a server does at its start with the tenants of
// its file.
const (
	StartApply = "apply" // apply them, and own them
	StartOnce  = "once"  // apply them if the database has no tenant yet
	StartOff   = "off"   // nothing
)

// MaxRevision is the highest revision of a file: the largest number that every
// tool which reads JSON or YAML keeps exact.
const MaxRevision = 1<<53 - 1

// RevocationBound is the longest time for which a node relies on what it last
// read of the event log. It bounds introspection.max_age.
const RevocationBound = 10 * time.Second
