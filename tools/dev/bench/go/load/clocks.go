package main

import (
	"fmt"
	"syscall"
	"time"
	"unsafe"
)

// The clock of a process's CPU time, as clock_getcpuclockid makes its number: nanoseconds, all threads, those that
// have ended too. /proc/PID/stat tells the same time in ticks of ten milliseconds.
const cpuClockOfProcess = 2

func readClocks(pids []int) (map[int]time.Duration, error) {
	found := map[int]time.Duration{}
	for _, pid := range pids {
		var spent syscall.Timespec
		clock := uintptr(^pid<<3 | cpuClockOfProcess)
		_, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clock, uintptr(unsafe.Pointer(&spent)), 0)
		if errno != 0 {
			return nil, fmt.Errorf("CPU time of process %d: %w", pid, errno)
		}
		found[pid] = time.Duration(spent.Nano())
	}
	return found, nil
}
