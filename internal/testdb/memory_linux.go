package testdb

import "syscall"

const (
	sharedMemory = "/dev/shm"
	tmpfs        = 0x01021994 // of statfs(2)
	noExec       = 0x8
	enoughMemory = 8 << 30
)

// InMemory returns a folder for temporary files that keeps them in memory, or "" if
// no such folder has enough room. Tests write many small databases, and SQLite waits
// for the disk at every commit.
func InMemory() string {
	var s syscall.Statfs_t
	if syscall.Statfs(sharedMemory, &s) != nil || int64(s.Type) != tmpfs || int64(s.Flags)&noExec != 0 || int64(s.Bavail)*int64(s.Bsize) < enoughMemory {
		return ""
	}
	return sharedMemory
}
