package main

import (
	"syscall"
	"time"
	"unsafe"
)

// schedule is a heap of paced streams, the next one first.
type schedule []*stream

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].at.Before(s[j].at) }
func (s schedule) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *schedule) Push(x any)        { *s = append(*s, x.(*stream)) }
func (s *schedule) Pop() any {
	last := (*s)[len(*s)-1]
	*s = (*s)[:len(*s)-1]
	return last
}

const clockMonotonic = 1

type timerSetting struct{ interval, value syscall.Timespec }

func newTimer() (int, error) {
	fd, _, errno := syscall.Syscall(syscall.SYS_TIMERFD_CREATE, clockMonotonic, syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// arm lets the timer fire once; a time that has passed is the next nanosecond.
func arm(fd int, in time.Duration) {
	setting := timerSetting{value: syscall.NsecToTimespec(max(in.Nanoseconds(), 1))}
	_, _, _ = syscall.Syscall6(syscall.SYS_TIMERFD_SETTIME, uintptr(fd), 0, uintptr(unsafe.Pointer(&setting)), 0, 0, 0)
}

func disarm(fd int) {
	var fired [8]byte
	_, _ = syscall.Read(fd, fired[:])
}
