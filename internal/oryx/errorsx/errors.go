// Package errorsx stands in for the package of the same name in ory/x, of
// which fosite uses one function and six interfaces.
package errorsx

// WithStack returns err itself: fosite calls it for every refusal, and a stack
// trace of an expected refusal is cost without use.
func WithStack(err error) error { return err }

// Cause unwraps err through every Cause method to its root.
func Cause(err error) error {
	for err != nil {
		c, ok := err.(interface{ Cause() error })
		if !ok || c.Cause() == nil {
			return err
		}
		err = c.Cause()
	}
	return nil
}

// StatusCodeCarrier is an error that names an HTTP status code.
type StatusCodeCarrier interface{ StatusCode() int }

// StatusCarrier is an error that names an HTTP status text.
type StatusCarrier interface{ Status() string }

// RequestIDCarrier is an error that names the request that caused it.
type RequestIDCarrier interface{ RequestID() string }

// ReasonCarrier is an error with a reason for the caller.
type ReasonCarrier interface{ Reason() string }

// DebugCarrier is an error with a reason for the operator.
type DebugCarrier interface{ Debug() string }

// DetailsCarrier is an error with structured details.
type DetailsCarrier interface{ Details() map[string]any }
