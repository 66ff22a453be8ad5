package admin

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/latchkey/latchkey/settings"
	"github.com/latchkey/latchkey/settings/decode"
)

// decodeBody reads a JSON object into v, a pointer to a struct with yaml tags, as
// strictly as the configuration file. The path of each fault begins with `at`.
func decodeBody(body []byte, at string, v any) error {
	document, err := decode.JSON(body)
	if err != nil {
		return invalid(Fault{Pointer: "", Detail: "the body " + err.Error()})
	}
	faults, err := document.Into(at, v)
	switch {
	case err != nil:
		return invalid(Fault{Pointer: "", Detail: "the body " + err.Error()})
	case len(faults) > 0:
		return invalidBody(at, faults)
	}
	return nil
}

// withoutFiles rejects members that name files: the server reads no files for a
// request.
func withoutFiles(at string, written settings.Written, keys ...string) error {
	var faults settings.Faults
	for _, key := range keys {
		if _, given := written[key]; given {
			faults.Add(settings.Member(at, key), "is not available here: send the content as %s", strings.TrimSuffix(key, "_file"))
		}
	}
	if len(faults) > 0 {
		return invalidBody(at, faults)
	}
	return nil
}

// sameID rejects a body whose id differs from the id in the path of the request.
func sameID(key, inBody, inPath string) error {
	if inBody != "" && inBody != inPath {
		return invalid(Fault{Pointer: "/" + key, Detail: "must be the same as in the path, or left out"})
	}
	return nil
}

// resource returns a resource as JSON: its settings as they were written, its id and
// its status. A request may send it back unchanged.
func resource(doc settings.Document, id string, status any) (json.RawMessage, error) {
	all := map[string]any{"id": id, "status": status}
	for name, value := range doc {
		all[name] = value
	}
	return json.Marshal(all)
}

// Precondition is the condition of a change (RFC 9110 §13.1).
type Precondition struct {
	IfMatch     string // a list of entity tags, or *; empty: none
	IfNoneMatch string // * or empty
}

// check returns an error if the stored version does not meet the condition. An empty
// version means that the resource does not exist.
func (p Precondition) check(version string) error {
	if p.IfMatch != "" && (version == "" || !matches(p.IfMatch, version)) || p.IfNoneMatch != "" && version != "" && matches(p.IfNoneMatch, version) {
		return problem(http.StatusPreconditionFailed, "precondition_failed", "The resource has changed since you read it, or it already exists; read it again")
	}
	return nil
}

// matches reports whether a list of entity tags contains the tag of a version.
func matches(list, version string) bool {
	for tag := range strings.SplitSeq(list, ",") {
		if tag = strings.TrimSpace(tag); tag == "*" || tag == entityTag(version) {
			return true
		}
	}
	return false
}

// entityTag returns the ETag of a version.
func entityTag(version string) string { return `"` + version + `"` }

// IfVersion returns the condition that the resource has the version, such as
// Client.Version.
func IfVersion(version string) Precondition { return Precondition{IfMatch: entityTag(version)} }

// errStale is the error of a change that was computed from a version that is no longer
// stored.
var errStale = errors.New("the stored version has changed")
