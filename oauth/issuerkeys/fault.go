package issuerkeys

import (
	"errors"
	"fmt"
)

var (
	// ErrUnavailable means that an issuer's keys cannot be fetched at the
	// moment. The fault is temporary and does not mean that the token is
	// invalid.
	ErrUnavailable = errors.New("the issuer's keys cannot be fetched")

	// ErrMisconfigured means that an issuer responds, but what it publishes
	// does not match its entry in the configuration. A retry does not help.
	ErrMisconfigured = errors.New("the trusted issuer is misconfigured")
)

// Fault is an ErrMisconfigured with what an operator needs to correct it.
type Fault struct {
	Problem            string
	Expected, Received string
	Advice             string
}

// Error implements error.
func (f *Fault) Error() string {
	return fmt.Sprintf("%s: expected %s, received %s; %s", f.Problem, f.Expected, f.Received, f.Advice)
}

// Is implements errors.Is.
func (f *Fault) Is(target error) bool { return target == ErrMisconfigured }

// mismatch returns the fault of a discovery document whose issuer differs from
// that of the entry. A trailing slash is a difference.
func (c Config) mismatch(expected, received string) error {
	if c.ForLog != nil {
		received = c.ForLog(received)
	}
	return &Fault{"issuer in the discovery document does not match the configuration", fmt.Sprintf("%q", expected), fmt.Sprintf("%q", received),
		"set issuer exactly as in the document"}
}
