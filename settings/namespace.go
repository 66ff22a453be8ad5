package settings

import "strings"

// clash is how two entries of one tenant could speak for each other's users.
type clash int

const (
	noClash   clash = iota
	sameSpace       // one namespace, and not both say that they share it
	overlap         // one namespace inside the other
)

// clashes compares the namespaces of two entries: no prefix may begin another,
// and entries share one only if all of them set share_subjects. An entry without
// a prefix is allowed beside others; SpeaksFor then checks each subject it maps.
func (s IssuerSettings) clashes(o IssuerSettings) clash {
	a, b := s.SubjectPrefix, o.SubjectPrefix
	switch {
	case a == b && s.ShareSubjects && o.ShareSubjects:
		return noClash
	case a == b:
		return sameSpace
	case a != "" && b != "" && (strings.HasPrefix(a, b) || strings.HasPrefix(b, a)):
		return overlap
	default:
		return noClash
	}
}

// SpeaksFor says whether the entry may vouch for a subject, its own prefix
// already put before it: not if the subject lies in another entry's namespace.
func (s IssuerSettings) SpeaksFor(subject string, entries []IssuerSettings) bool {
	for _, other := range entries {
		if other.SubjectPrefix != "" && other.SubjectPrefix != s.SubjectPrefix && strings.HasPrefix(subject, other.SubjectPrefix) {
			return false
		}
	}
	return true
}
