package testdb

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
)

// keeperPort is the port in the name of a keeper's socket, beside the server's socket.
const keeperPort = "5433"

// keeper is a proxy of a server that keeps its sessions, for every process that has
// the URL.
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

// close stops accepting connections. Open ones end with the server.
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
			_ = client.Close() // written data still arrives
		}()
	}
}

// socketIn returns the path of a PostgreSQL socket.
func socketIn(folder, port string) string { return filepath.Join(folder, ".s.PGSQL."+port) }
