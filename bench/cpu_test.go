package bench

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // asks PostgreSQL for its processes
)

// processCPU is the CPU time that the threads of a process have used, in µs. The
// scheduler counts it in nanoseconds; /proc/PID/stat would count in 10 ms.
func processCPU(b *testing.B, pid int) (µs float64) {
	b.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(threads) == 0 {
		b.Fatalf("the CPU time of process %d cannot be read: it must run on this machine, which must be a Linux with schedstat", pid)
	}
	for _, name := range threads {
		text, err := os.ReadFile(name)
		if os.IsNotExist(err) {
			continue // the thread has ended
		}
		must(b, err)
		used, _, _ := strings.Cut(string(text), " ")
		ns, err := strconv.ParseInt(used, 10, 64)
		must(b, err)
		µs += float64(ns) / 1000
	}
	return µs
}

// database is the PostgreSQL of the deployment.
type database struct{ *sql.DB }

// cpu is the CPU time of every process that works for the servers, in µs. None
// of their connections ends meanwhile.
func (d database) cpu(b *testing.B) (µs float64) {
	b.Helper()
	rows, err := d.Query("SELECT pid FROM pg_stat_activity WHERE (datname = current_database() AND pid <> pg_backend_pid()) OR datname IS NULL")
	must(b, err)
	defer rows.Close()
	for rows.Next() {
		var pid int
		must(b, rows.Scan(&pid))
		µs += processCPU(b, pid)
	}
	must(b, rows.Err())
	return µs
}
