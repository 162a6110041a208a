package main

import "syscall"

// apart gives a child a process group of its own, so that the terminal's Ctrl-C
// does not reach it before its parent has told it to drain.
func apart() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
