//go:build !linux

package main

import "syscall"

// dieWithParent keeps the terminal's Ctrl-C from reaching a child before its
// parent has told it to drain.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
