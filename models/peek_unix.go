//go:build unix

package models

import (
	"errors"
	"syscall"
)

// peekAt requires a descriptor that does not block, as all of Go's do not.
func peekAt(fd uintptr) int {
	n, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK)
	switch {
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EINTR):
		return peekNothing
	case err != nil, n == 0:
		return peekClosed
	default:
		return peekData
	}
}
