package settings

import (
	"fmt"
	"strings"
)

// Fault is an error in a configuration. Path is the path of the setting in the
// file, such as tenants[0].clients[2].claims.email.
type Fault struct {
	Path    string
	Problem string
	Of      string // the name of the object with the fault, such as client web; may be empty
	Code    string // FaultManagedByFile; otherwise empty
}

// FaultManagedByFile is the code of a fault in a change of something that the file of
// serve owns.
const FaultManagedByFile = "managed_by_file"

// String returns the fault on one line.
func (f Fault) String() string {
	if f.Of != "" {
		return fmt.Sprintf("%s: %s (%s)", f.Path, f.Problem, f.Of)
	}
	return f.Path + ": " + f.Problem
}

// Faults lists the faults of a configuration. As an error, it reports all of them.
type Faults []Fault

// Error implements error, with one line for each fault.
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

// Add appends a fault.
func (f *Faults) Add(path, format string, args ...any) {
	*f = append(*f, Fault{Path: path, Problem: fmt.Sprintf(format, args...)})
}
