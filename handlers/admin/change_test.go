package admin

import (
	"errors"
	"net/http"
	"testing"
)

// stored imitates a resource that other requests change before the first writes.
type stored struct {
	version string
	changes int // by others, still to come
	writes  int
}

func (s *stored) read() (version, spare string, err error) { return s.version, "spare", nil }

func (s *stored) write(spare string, check func(string) error) (bool, string, error) {
	if s.changes > 0 {
		s.changes--
		s.version += "'"
	}
	if err := check(s.version); err != nil {
		return false, "", err
	}
	s.writes++
	return false, spare, nil
}

func TestAReplacementIsRepeatedWhileOthersChangeTheResource(t *testing.T) {
	t.Parallel()
	s := stored{version: "1", changes: attempts - 1}
	if _, secret, err := put(Precondition{}, s.read, s.write); err != nil || secret != "spare" || s.writes != 1 {
		t.Errorf("%q, %v after %d writes", secret, err, s.writes)
	}
}

func TestAReplacementThatIsAlwaysTooLateIsAConflict(t *testing.T) {
	t.Parallel()
	s := stored{version: "1", changes: attempts}
	_, secret, err := put(Precondition{}, s.read, s.write)
	var p *Problem
	if !errors.As(err, &p) || p.Status != http.StatusConflict || secret != "" || s.writes != 0 {
		t.Errorf("%q, %v after %d writes", secret, err, s.writes)
	}
}

func TestAReplacementOfAnotherVersionIsNotRepeated(t *testing.T) {
	t.Parallel()
	s := stored{version: "1", changes: 1}
	_, _, err := put(IfVersion("1"), s.read, s.write)
	var p *Problem
	if !errors.As(err, &p) || p.Status != http.StatusPreconditionFailed || s.writes != 0 {
		t.Errorf("%v after %d writes", err, s.writes)
	}
}
