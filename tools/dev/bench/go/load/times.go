package main

import (
	"sync/atomic"
	"time"
)

const mostMicros = 1 << 21

// times counts how often each microsecond occurred; what took two seconds and more is in the last place.
type times struct {
	counts  []atomic.Uint32
	longest atomic.Int64
}

func newTimes() *times {
	return &times{counts: make([]atomic.Uint32, mostMicros)}
}

func (t *times) add(taken time.Duration) {
	micros := max(taken.Microseconds(), 0)
	t.counts[min(micros, mostMicros-1)].Add(1)
	for before := t.longest.Load(); micros > before && !t.longest.CompareAndSwap(before, micros); {
		before = t.longest.Load()
	}
}

// percentile is exact to the microsecond; from two seconds on it is the longest of all.
func (t *times) percentile(share float64) int64 {
	var total, seen int64
	for at := range t.counts {
		total += int64(t.counts[at].Load())
	}
	for at := range t.counts {
		seen += int64(t.counts[at].Load())
		if total > 0 && float64(seen) >= share*float64(total) {
			if at == mostMicros-1 {
				return t.longest.Load()
			}
			return int64(at)
		}
	}
	return 0
}
