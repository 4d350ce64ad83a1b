// Command upstream is the model server of the benchmark: JSON answers and event streams, as cheaply as they can be
// made. One thread, epoll, and a timer of nanoseconds: a runtime that wakes once a millisecond would send the chunks
// of many streams together, and the benchmark would measure batches.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

func main() {
	port := flag.Int("port", 0, "port on 127.0.0.1; 0: any, it says which")
	delay := flag.Duration("start-delay", 0, "time that a start takes, before the port is open")
	flag.Parse()
	time.Sleep(*delay)
	server, err := listen(*port)
	if err == nil {
		fmt.Printf("listening %d\n", server.port)
		err = server.run()
	}
	fmt.Fprintf(os.Stderr, "upstream: %v\n", err)
	os.Exit(1)
}
