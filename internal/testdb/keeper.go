package testdb

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
)

// keeperPort is in the name of a keeper's socket, beside that of its server.
const keeperPort = "5433"

// keeper stands before a server and keeps its sessions, for every process that
// has the URL.
type keeper struct {
	listener net.Listener
	pool     *pool
}

func newKeeper(s *server) (*keeper, error) {
	socket := socketIn(s.folder, keeperPort)
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	// Any user may connect, as to PostgreSQL's own socket: a pooler does not run as root.
	if err := os.Chmod(socket, 0o777); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	k := &keeper{listener: listener, pool: poolOf(socketIn(s.folder, serverPort))}
	go k.serve()
	return k, nil
}

// close takes no more connections. The others end with the server.
func (k *keeper) close() { _ = k.listener.Close() }

func (k *keeper) serve() {
	for {
		client, err := k.listener.Accept()
		if err != nil {
			return
		}
		server := newSession(k.pool)
		go func() {
			_, _ = io.Copy(server, client)
			_ = server.Close()
			_ = client.Close()
		}()
		go func() {
			_, _ = io.Copy(client, server)
			_ = client.Close() // what was written still arrives
		}()
	}
}

// socketIn is the path of a socket, as PostgreSQL names it.
func socketIn(folder, port string) string { return filepath.Join(folder, ".s.PGSQL."+port) }
