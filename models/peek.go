package models

import (
	"net"
	"syscall"
)

// Results of peek for a connection on which no response is expected.
const (
	peekNothing = iota // no data: the connection is open, as far as this side knows
	peekData           // the server has sent something by itself, such as that it shuts down
	peekClosed         // the server has closed the connection
)

// peek reports whether the server has sent data or closed the connection,
// without waiting and without consuming anything. It returns peekNothing for a
// connection that it cannot inspect.
func peek(conn net.Conn) int {
	if tls, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = tls.NetConn()
	}
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return peekNothing
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return peekData
	}
	state := peekNothing
	// Control is used because Read would wait for a Read in progress, which pgx
	// leaves behind after a slow write.
	if err := raw.Control(func(fd uintptr) { state = peekAt(fd) }); err != nil {
		return peekData // the check that follows finds the reason
	}
	return state
}
