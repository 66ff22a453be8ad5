//go:build unix

package models

import (
	"errors"
	"syscall"
)

// peekAt works on descriptors that do not block, as all of Go's do.
func peekAt(fd uintptr) int {
	n, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK)
	switch {
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EINTR):
		return quiet
	case err != nil, n == 0:
		return hungUp
	default:
		return spoken
	}
}
