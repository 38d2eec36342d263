// Command beacon tells over HTTP that it is there.
package main

import (
	"bufio"
	"errors"
	"flag"
	"io"
	"net"
	"os"
	"strings"

	"example.org/beacon/internal/status"
)

var version, commit string

func main() {
	check := flag.Bool("check", false, "ask a running beacon")
	once := flag.Bool("once", false, "tell it to standard output")
	flag.Parse()
	address, line := os.Getenv("BEACON_LISTEN"), status.Line(version, commit, os.Getuid())
	var err error
	switch {
	case *once:
		_, err = io.WriteString(os.Stdout, line)
	case *check:
		err = ask(address)
	default:
		err = serve(address, line)
	}
	if err != nil {
		io.WriteString(os.Stderr, "beacon: "+err.Error()+"\n")
		os.Exit(1)
	}
}

func ask(address string) error {
	connection, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	io.WriteString(connection, "GET / HTTP/1.0\r\n\r\n")
	answer, err := bufio.NewReader(connection).ReadString('\n')
	if err == nil && !strings.Contains(answer, " 200 ") {
		err = errors.New("not well: " + answer)
	}
	return err
}

func serve(address, line string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		reader := bufio.NewReader(connection)
		for {
			header, err := reader.ReadString('\n')
			if err != nil || header == "\r\n" {
				break
			}
		}
		io.WriteString(connection, "HTTP/1.0 200 OK\r\n\r\n"+line)
		connection.Close()
	}
}
