//go:build !unix

package testdb

import "syscall"

const supported = false // no process groups, no shell for the guard

type owner struct{}

func newOwner() (*owner, error) { return nil, nil }

func (*owner) own(string) error { return nil }

func (*owner) attributes(int) *syscall.SysProcAttr { return nil }
