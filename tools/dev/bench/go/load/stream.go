package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http/httputil"
	"time"

	"swapyard/bench/wire"
)

// readStream reads events to the end of the stream, or of the run. What counts as late is the time from the moment
// that the model server wrote into the event to the one at which it is here.
func (c *client) readStream(found head) error {
	if found.status != 200 || !found.chunked {
		return fmt.Errorf("status %d, chunked: %t, for a stream", found.status, found.chunked)
	}
	body := httputil.NewChunkedReader(c.reader)
	event := c.body[:len(c.event)]
	expected := append([]byte(nil), c.event...)
	for number := 0; c.plan.Count == 0 || number < c.plan.Count; number++ {
		if _, err := io.ReadFull(body, event); err != nil {
			return fmt.Errorf("event %d: %w", number, err)
		}
		now := time.Now()
		got, sent, ok := wire.ReadStamp(event)
		wire.Stamp(expected, number, sent)
		if !ok || got != number || !bytes.Equal(event, expected) {
			return fmt.Errorf("event %d is %.200q", number, event)
		}
		c.nowWarm()
		c.count(now.Sub(time.Unix(0, sent)))
	}
	tail, err := io.ReadAll(io.LimitReader(body, int64(len(c.body))))
	if err != nil || string(tail) != wire.Tail {
		return fmt.Errorf("the end of a stream is %.200q (%v)", tail, err)
	}
	_, err = c.reader.ReadSlice('\n')
	return err
}
