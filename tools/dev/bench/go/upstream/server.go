package main

import (
	"container/heap"
	"errors"
	"fmt"
	"syscall"
	"time"
)

const eventsAtOnce = 128

// server is one epoll set: the listening socket, the timer of paced streams, and all connections.
type server struct {
	epoll, listener, timer, port int
	conns                        map[int]*conn
	due                          schedule
	eager, spare                 []*conn // unpaced streams whose client takes more
}

func listen(port int) (*server, error) {
	s := &server{port: port, conns: map[int]*conn{}}
	var err error
	if s.listener, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0); err != nil {
		return nil, err
	}
	// Accepted sockets inherit both.
	_ = syscall.SetsockoptInt(s.listener, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	_ = syscall.SetsockoptInt(s.listener, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	if err = syscall.Bind(s.listener, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return nil, fmt.Errorf("port %d: %w", port, err)
	}
	if err = syscall.Listen(s.listener, 4096); err != nil {
		return nil, err
	}
	if name, err := syscall.Getsockname(s.listener); err == nil {
		s.port = name.(*syscall.SockaddrInet4).Port
	}
	if s.epoll, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	if s.timer, err = newTimer(); err != nil {
		return nil, err
	}
	s.watch(syscall.EPOLL_CTL_ADD, s.listener, syscall.EPOLLIN)
	s.watch(syscall.EPOLL_CTL_ADD, s.timer, syscall.EPOLLIN)
	return s, nil
}

func (s *server) watch(operation, fd int, events uint32) {
	_ = syscall.EpollCtl(s.epoll, operation, fd, &syscall.EpollEvent{Events: events, Fd: int32(fd)})
}

// run serves until something is wrong with epoll itself.
func (s *server) run() error {
	events := make([]syscall.EpollEvent, eventsAtOnce)
	for {
		timeout := -1
		if len(s.eager) > 0 {
			timeout = 0
		}
		count, err := syscall.EpollWait(s.epoll, events, timeout)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return err
		}
		for _, event := range events[:max(count, 0)] {
			s.happened(int(event.Fd), event.Events)
		}
		s.feedEager()
	}
}

func (s *server) happened(fd int, events uint32) {
	switch fd {
	case s.listener:
		s.accept()
	case s.timer:
		s.pace()
	default:
		// A number that was closed and taken again in this batch is read for nothing, and no more.
		c := s.conns[fd]
		if c != nil && events&syscall.EPOLLOUT != 0 {
			c.flush()
		}
		if c != nil && c.fd >= 0 && events&^syscall.EPOLLOUT != 0 {
			c.readable()
		}
	}
}

func (s *server) accept() {
	for {
		fd, _, err := syscall.Accept4(s.listener, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		s.conns[fd] = &conn{server: s, fd: fd}
		s.watch(syscall.EPOLL_CTL_ADD, fd, syscall.EPOLLIN)
	}
}

// pace sends the events that are due, and sets the timer for the next one.
func (s *server) pace() {
	disarm(s.timer)
	now := time.Now()
	for len(s.due) > 0 && !s.due[0].at.After(now) {
		stream := s.due[0]
		if stream.conn.stream != stream {
			heap.Pop(&s.due)
			continue
		}
		stream.at = stream.at.Add(stream.interval)
		heap.Fix(&s.due, 0)
		stream.conn.emit()
	}
	if len(s.due) > 0 {
		arm(s.timer, time.Until(s.due[0].at))
	}
}

// hasten lets an unpaced stream send without waiting for anything.
func (s *server) hasten(c *conn) {
	if !c.eager {
		c.eager = true
		s.eager = append(s.eager, c)
	}
}

// feedEager lets each unpaced stream send a few events.
func (s *server) feedEager() {
	turn := s.eager
	s.eager = s.spare[:0]
	for _, c := range turn {
		c.eager = false
		for sent := 0; sent < eventsInARow && c.hasty(); sent++ {
			c.emit()
		}
		if c.hasty() {
			s.hasten(c)
		}
	}
	s.spare = turn
}
