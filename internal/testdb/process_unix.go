//go:build unix

package testdb

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// supported reports whether this system can run a private cluster.
const supported = true

// owner is the user that runs the server: nil for the test's own user, or another
// user if that is root, because PostgreSQL does not run as root.
type owner struct{ uid, gid int }

func newOwner() (*owner, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.Atoi(u.Uid)
		gid, gidErr := strconv.Atoi(u.Gid)
		if uidErr == nil && gidErr == nil {
			return &owner{uid, gid}, nil
		}
	}
	return nil, fmt.Errorf("PostgreSQL does not run as root, and there is neither a user postgres nor a user nobody: run the tests as another user, or set %s", EnvURL)
}

// own makes the server's user the owner of a file.
func (o *owner) own(path string) error {
	if o == nil {
		return nil
	}
	return os.Chown(path, o.uid, o.gid)
}

// attributes makes a process run as the server's user in the guard's process group (0
// creates it), so that Ctrl-C in a terminal does not reach it, but the guard does.
func (o *owner) attributes(group int) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true, Pgid: group}
	if o != nil {
		attr.Credential = &syscall.Credential{Uid: uint32(o.uid), Gid: uint32(o.gid)}
	}
	return attr
}
