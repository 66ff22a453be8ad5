package settings

import "time"

// Values of tenants_at_start: what a server does with the tenants of its file when
// it starts.
const (
	StartApply = "apply" // apply them and own them: no other file may change them
	StartOnce  = "once"  // apply them if the database has no tenant yet
	StartOff   = "off"   // nothing
)

// MaxRevision is the highest revision of a file: the largest integer that every JSON
// or YAML tool represents exactly.
const MaxRevision = 1<<53 - 1

// RevocationBound is how long a node may rely on its last read of the event log. It
// bounds introspection.max_age.
const RevocationBound = 10 * time.Second
