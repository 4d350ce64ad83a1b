package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"strconv"
	"time"

	"swapyard/bench/wire"
)

// client is one connection at a time, and the requests on it.
type client struct {
	*run
	conn     net.Conn
	reader   *bufio.Reader
	request  []byte
	idAt     int
	body     []byte // of the answer, with room to see that it is too long
	expected []byte
	warm     bool
}

func newClient(r *run) *client {
	c := &client{run: r}
	c.request, c.idAt = makeRequest(r.options)
	c.expected = append([]byte(nil), r.answer...)
	c.body = make([]byte, max(len(r.answer), len(r.event), len(wire.Tail))+1)
	size := 4 << 10
	if r.plan.Stream {
		size = 64 << 10
	}
	c.reader = bufio.NewReaderSize(nil, size)
	return c
}

// work goes on until the run is over.
func (c *client) work() {
	defer c.ended.Done()
	c.beginning <- struct{}{}
	for c.phase.Load() != over {
		if err := c.once(); err != nil {
			c.failed(err)
			c.hangUp()
			c.nowWarm()
			time.Sleep(pause)
		} else if c.mode == "close" {
			c.hangUp()
		} else if c.mode == "idle" {
			<-c.finish
		}
	}
	c.hangUp()
}

// nowWarm says, once, that the next connection may begin.
func (c *client) nowWarm() {
	if !c.warm {
		c.warm = true
		<-c.beginning
		c.warmed.Done()
	}
}

func (c *client) hangUp() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.open.Delete(c.conn)
		c.conn = nil
	}
}

// once sends one request and reads its answer.
func (c *client) once() error {
	began := time.Now()
	if c.conn == nil {
		conn, err := c.dial()
		if err != nil {
			return err
		}
		c.conn = conn
		c.reader.Reset(conn)
		if c.plan.Stream {
			c.open.Store(conn, nil)
		}
	}
	id := c.request[c.idAt : c.idAt+wire.IDLength]
	copy(id, fmt.Appendf(nil, "%0*d", wire.IDLength, c.ids.Add(1)))
	if _, err := c.conn.Write(c.request); err != nil {
		return err
	}
	head, err := c.readHead()
	if err != nil {
		return err
	}
	if c.plan.Stream {
		err = c.readStream(head)
	} else {
		err = c.readAnswer(head, id)
	}
	if err != nil {
		return err
	}
	if !c.plan.Stream {
		c.count(time.Since(began))
	}
	c.nowWarm()
	if head.last && c.mode != "close" {
		c.reconnects.Add(1)
		c.hangUp()
	}
	return nil
}

type head struct {
	status, length int
	chunked, last  bool
}

func (c *client) readHead() (head, error) {
	found := head{length: -1}
	for {
		line, err := c.reader.ReadSlice('\n')
		if err != nil {
			return found, fmt.Errorf("the head of an answer: %w", err)
		}
		line = bytes.TrimRight(line, "\r\n")
		name, value, colon := bytes.Cut(line, []byte(":"))
		switch {
		case found.status == 0:
			if len(line) < 12 {
				return found, fmt.Errorf("an answer begins with %q", line)
			}
			found.status, _ = strconv.Atoi(string(line[9:12]))
		case len(line) == 0:
			return found, nil
		case !colon:
			return found, fmt.Errorf("a header is %q", line)
		case bytes.EqualFold(name, []byte("content-length")):
			found.length, _ = strconv.Atoi(string(bytes.TrimSpace(value)))
		case bytes.EqualFold(name, []byte("transfer-encoding")):
			found.chunked = true
		case bytes.EqualFold(name, []byte("connection")):
			found.last = bytes.EqualFold(bytes.TrimSpace(value), []byte("close"))
		}
	}
}

// readAnswer reads a body and compares it with the one that belongs to this request.
func (c *client) readAnswer(found head, id []byte) error {
	var size int
	var err error
	switch {
	case found.chunked:
		size, err = io.ReadFull(httputil.NewChunkedReader(c.reader), c.body)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			_, err = c.reader.ReadSlice('\n')
		}
	case found.length >= 0 && found.length < len(c.body):
		size, err = io.ReadFull(c.reader, c.body[:found.length])
	default:
		return fmt.Errorf("status %d with Content-Length %d", found.status, found.length)
	}
	if err != nil {
		return fmt.Errorf("the body of an answer: %w", err)
	}
	wire.SetID(c.expected, id)
	if found.status != 200 || !bytes.Equal(c.body[:size], c.expected) {
		return fmt.Errorf("status %d: %.200q, expected %.60q …", found.status, c.body[:size], c.expected)
	}
	return nil
}
