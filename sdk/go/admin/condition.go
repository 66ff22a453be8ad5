package admin

import "net/http"

// Condition makes a change conditional. If the condition does not hold, the
// change fails with status 412 and code precondition_failed.
type Condition func(http.Header)

// IfMatch changes a resource only if its ETag is still this one, as it was read.
func IfMatch(etag string) Condition { return func(h http.Header) { h.Set("If-Match", etag) } }

// IfAbsent only creates, and never replaces.
func IfAbsent() Condition { return func(h http.Header) { h.Set("If-None-Match", "*") } }

// change returns a request under conditions. After a lost response, a condition
// no longer holds if the first attempt succeeded, so a conditional change is not
// repeated.
func change(method string, path []string, conditions []Condition) request {
	r := request{method: method, path: path, header: http.Header{}, repeat: method != http.MethodPatch && len(conditions) == 0, remove: method == http.MethodDelete}
	for _, condition := range conditions {
		condition(r.header)
	}
	if method == http.MethodPatch {
		r.kind = patchType
	}
	return r
}
