package models

import (
	"fmt"
	"strings"
)

// namespaceFaults names the entries of one tenant that could speak for each
// other's users: prefixes must be prefix-free, and are shared only by entries
// that all say so (DESIGN §4). An entry without a prefix may stand beside
// others; what it maps is then checked by SpeaksFor.
func namespaceFaults(entries []IssuerSettings) []string {
	var faults []string
	for i, a := range entries {
		for _, b := range entries[:i] {
			shared := a.ShareSubjects && b.ShareSubjects
			switch {
			case a.SubjectPrefix == b.SubjectPrefix && !shared:
				faults = append(faults, fmt.Sprintf("%s and %s have the same subject_prefix %q: give one another prefix, or share_subjects: true to both", b.Issuer, a.Issuer, a.SubjectPrefix))
			case a.SubjectPrefix == b.SubjectPrefix, a.SubjectPrefix == "", b.SubjectPrefix == "":
			case strings.HasPrefix(a.SubjectPrefix, b.SubjectPrefix), strings.HasPrefix(b.SubjectPrefix, a.SubjectPrefix):
				faults = append(faults, fmt.Sprintf("subject_prefix %q of %s and %q of %s: one begins with the other", b.SubjectPrefix, b.Issuer, a.SubjectPrefix, a.Issuer))
			}
		}
	}
	return faults
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
