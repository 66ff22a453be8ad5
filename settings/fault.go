package settings

import (
	"fmt"
	"strings"
)

// Fault is one thing wrong with a configuration, and where: the path is that
// of the file, such as tenants[0].clients[2].claims.email.
type Fault struct {
	Path    string
	Problem string
	Of      string // what people call the noun that it is of, such as client web; may be empty
	Code    string // FaultManagedByFile; otherwise empty
}

// FaultManagedByFile is the code of the fault that the file of serve owns what was to
// be changed.
const FaultManagedByFile = "managed_by_file"

// String is the fault on one line.
func (f Fault) String() string {
	if f.Of != "" {
		return fmt.Sprintf("%s: %s (%s)", f.Path, f.Problem, f.Of)
	}
	return f.Path + ": " + f.Problem
}

// Faults is every fault of a configuration; as an error it names them all.
type Faults []Fault

// Error implements error, a line for each fault.
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
