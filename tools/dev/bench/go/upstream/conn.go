package main

import (
	"errors"
	"syscall"
)

const (
	readAtLeast = 16 << 10
	// A client that takes nothing gets nothing new once so much waits for it.
	mostUnsent = 256 << 10
)

// conn is one connection. Requests are answered in order; while a stream goes on, the next one waits in `in`.
type conn struct {
	server  *server
	fd      int
	in, out []byte
	last    bool // close once everything is sent
	stream  *stream
	eager   bool // it is in the server's list of that name
}

// readable takes what has come; a connection that the client closed is closed here too.
func (c *conn) readable() {
	for {
		if cap(c.in)-len(c.in) < readAtLeast {
			c.in = append(make([]byte, 0, 2*cap(c.in)+readAtLeast), c.in...)
		}
		room := c.in[len(c.in):cap(c.in)]
		count, err := syscall.Read(c.fd, room)
		if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR) {
			break
		}
		if err != nil || count == 0 {
			c.close()
			return
		}
		c.in = c.in[:len(c.in)+count]
		if count < len(room) {
			break
		}
	}
	c.serve()
}

// serve answers the complete requests of `in`.
func (c *conn) serve() {
	for c.fd >= 0 && c.stream == nil && !c.last && len(c.in) > 0 {
		request, size := parse(c.in)
		if size == 0 {
			return
		}
		c.last = request.last
		c.answer(request)
		c.in = c.in[:copy(c.in, c.in[size:])]
		c.closeIfDone()
	}
}

func (c *conn) send(data []byte) {
	if len(c.out) == 0 {
		count, err := syscall.Write(c.fd, data)
		switch {
		case err == nil:
			data = data[count:]
		case !errors.Is(err, syscall.EAGAIN):
			c.close()
			return
		}
		if len(data) == 0 {
			return
		}
		c.server.watch(syscall.EPOLL_CTL_MOD, c.fd, syscall.EPOLLIN|syscall.EPOLLOUT)
	}
	c.out = append(c.out, data...)
}

// flush sends what waits, and then lets an unpaced stream go on.
func (c *conn) flush() {
	count, err := syscall.Write(c.fd, c.out)
	if errors.Is(err, syscall.EAGAIN) {
		return
	}
	if err != nil {
		c.close()
		return
	}
	c.out = c.out[:copy(c.out, c.out[count:])]
	if len(c.out) > 0 {
		return
	}
	c.server.watch(syscall.EPOLL_CTL_MOD, c.fd, syscall.EPOLLIN)
	if c.hasty() {
		c.server.hasten(c)
	}
	c.closeIfDone()
}

func (c *conn) closeIfDone() {
	if c.last && c.stream == nil && len(c.out) == 0 && c.fd >= 0 {
		c.close()
	}
}

func (c *conn) close() {
	if c.fd < 0 {
		return
	}
	delete(c.server.conns, c.fd)
	_ = syscall.Close(c.fd)
	c.fd, c.stream, c.out = -1, nil, nil
}
