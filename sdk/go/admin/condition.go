package admin

import "net/http"

// Condition makes a change conditional. If the condition does not hold, the
// change fails with status 412 and code precondition_failed.
type Condition func(http.Header)

// IfMatch changes a resource only if it still has this ETag.
func IfMatch(etag string) Condition { return func(h http.Header) { h.Set("If-Match", etag) } }

// IfAbsent creates a resource, and never replaces one.
func IfAbsent() Condition { return func(h http.Header) { h.Set("If-None-Match", "*") } }

// changeRequest returns a request with conditions. It is not retried if there are any:
// if the first attempt succeeded and its response was lost, the conditions no longer
// hold.
func changeRequest(method string, path []string, conditions []Condition) request {
	r := request{method: method, path: path, header: http.Header{}, repeat: method != http.MethodPatch && len(conditions) == 0, remove: method == http.MethodDelete}
	for _, condition := range conditions {
		condition(r.header)
	}
	if method == http.MethodPatch {
		r.kind = patchType
	}
	return r
}
