package settings

import "strings"

// clash is how the namespaces of two entries of one tenant conflict.
type clash int

const (
	noClash   clash = iota
	sameSpace       // the same namespace, which at least one entry does not share
	overlap         // one namespace contains the other
)

// clashes compares the namespaces of two entries. No prefix may be the beginning of
// another, and entries may have the same prefix only if all of them set
// share_subjects. An entry may have no prefix; SpeaksFor then checks each of its
// subjects.
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

// SpeaksFor reports whether the entry may vouch for a subject, which includes the
// entry's prefix. It may not if the subject is in the namespace of another entry.
func (s IssuerSettings) SpeaksFor(subject string, entries []IssuerSettings) bool {
	for _, other := range entries {
		if other.SubjectPrefix != "" && other.SubjectPrefix != s.SubjectPrefix && strings.HasPrefix(subject, other.SubjectPrefix) {
			return false
		}
	}
	return true
}
