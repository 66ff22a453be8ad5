package models

import (
	"net"
	"syscall"
)

// What peek sees of a connection on which no answer is awaited.
const (
	quiet  = iota // nothing: it is open, as far as this side knows
	spoken        // the server has said something unasked, such as that it shuts down
	hungUp        // the server has closed it
)

// peek looks whether the server has spoken or hung up, without waiting and
// without taking anything away. What cannot be looked at counts as quiet.
func peek(conn net.Conn) int {
	if tls, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = tls.NetConn()
	}
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return quiet
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return spoken
	}
	state := quiet
	// Control and not Read, which would wait for a Read that is under way: pgx
	// leaves one behind after a write that took long.
	if err := raw.Control(func(fd uintptr) { state = peekAt(fd) }); err != nil {
		return spoken // its own check finds out
	}
	return state
}
