// SPDX-License-Identifier: MIT

// Five VMs from Go: launched, followed, commanded and shut down, a goroutine each, with nothing but
// the schema and the standard library. README.md, beside this file, says what happens.
//
//	protoc --proto_path=/usr/share/axvm/proto --go_out=. axvm.proto    # makes axvm/v1/axvm.pb.go
//	five /usr/sbin/axvm-shim IMAGE
package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"google.golang.org/protobuf/proto"

	axvm "axvm/v1"
)

const (
	iface      = 1 // the oldest interface that has all that is used here: proto/released/CHANGELOG.md
	imageFD    = 5 // in the shim
	sizeMiB    = 16
	shrunkMiB  = 12
	patience   = 60 * time.Second
	messageMax = 1 << 20 // no event is larger
)

var plans = [][]string{{"pause", "resume", "shutdown"}, {"balloon", "shutdown"}, {"shutdown"}, {"shutdown"}, {"shutdown"}}

// A shim with both its streams.
type vm struct {
	id       string
	process  *exec.Cmd
	control  *os.File // what the shim reads from fd 3
	events   *os.File // what it writes to fd 4
	reader   *bufio.Reader
	sequence uint64
	requests uint64
}

func launchSpec(id string) *axvm.LaunchSpec {
	image := &axvm.Resource{Source: &axvm.Resource_Fd{Fd: imageFD}}
	return &axvm.LaunchSpec{
		VmId:    proto.String(id),
		Profile: proto.String("dev"),
		Cpus:    &axvm.Cpus{Count: proto.Uint32(1)},
		Memory:  &axvm.Memory{Nodes: []*axvm.MemoryNode{{SizeMib: proto.Uint64(sizeMiB)}}},
		Boot: &axvm.Boot{Kind: &axvm.Boot_FlatBoot{
			FlatBoot: &axvm.FlatBoot{Image: image, LocalApic: proto.Bool(true)},
		}},
		Balloon: &axvm.Balloon{}, // there is one, with all its defaults
		// When this program dies, its ends of all pipes are closed: no VM stays behind.
		Lifecycle: &axvm.Lifecycle{OnControlEof: axvm.OnControlEof_ON_CONTROL_EOF_STOP.Enum()},
	}
}

// launch starts a shim and hands it the launch. What is wrong with that comes as a terminal event.
func launch(shim, id string, image *os.File) (*vm, error) {
	control, ourControl, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer control.Close()
	ourEvents, events, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer events.Close()
	v := &vm{id: id, control: ourControl, events: ourEvents, reader: bufio.NewReader(ourEvents)}
	v.process = exec.Command(shim)
	v.process.ExtraFiles = []*os.File{control, events, image} // as fds 3, 4 and 5
	v.process.Env = []string{}
	v.process.Stderr = os.Stderr
	// A session of its own: Ctrl-C is ours to deal with.
	v.process.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := v.process.Start(); err != nil {
		return nil, err
	}
	return v, v.write(&axvm.ControlStream{Launch: launchSpec(id)})
}

// write appends to the ControlStream: the bytes of two messages are the message of both.
func (v *vm) write(message *axvm.ControlStream) error {
	bytes, err := proto.Marshal(message)
	if err != nil {
		return err
	}
	// A shim that reads no more (EPIPE) is about to say why, in its terminal event.
	if _, err := v.control.Write(bytes); !errors.Is(err, syscall.EPIPE) {
		return err
	}
	return nil
}

// next is the next event, or io.EOF at the stream's end. An EventStream on the wire is event after
// event, each a tag, a length and that many bytes.
func (v *vm) next() (*axvm.Event, error) {
	if err := v.events.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	tag, err := binary.ReadUvarint(v.reader)
	if err != nil {
		return nil, err
	}
	length, err := binary.ReadUvarint(v.reader)
	if err != nil {
		return nil, err
	}
	if tag != 1<<3|2 || length > messageMax {
		return nil, fmt.Errorf("no event has tag %d and %d bytes", tag, length)
	}
	bytes := make([]byte, length)
	if _, err := io.ReadFull(v.reader, bytes); err != nil {
		return nil, err
	}
	event := &axvm.Event{}
	if err := proto.Unmarshal(bytes, event); err != nil {
		return nil, err
	}
	v.sequence++
	if event.GetSequence() != v.sequence {
		return nil, fmt.Errorf("event %d was lost", v.sequence)
	}
	if v.sequence == 1 && event.GetInterfaceVersion() < iface {
		return nil, fmt.Errorf("the shim has interface %d", event.GetInterfaceVersion())
	}
	return event, nil
}

// await reads events until one satisfies; those of other kinds, and of a later schema, are passed over.
func (v *vm) await(satisfies func(*axvm.Event) (bool, error)) error {
	for {
		event, err := v.next()
		if err != nil {
			return err
		}
		done, err := satisfies(event)
		if done || err != nil {
			return err
		}
		if end := event.GetTerminal(); end != nil {
			return fmt.Errorf("it has ended: %s", end.GetMessage())
		}
	}
}

func running(event *axvm.Event) (bool, error) { return event.GetRunning() != nil, nil }

// do sends a command and waits until it is done.
func (v *vm) do(name string) error {
	v.requests++
	command := &axvm.Command{RequestId: proto.Uint64(v.requests)}
	switch name {
	case "pause":
		command.What = &axvm.Command_Pause{Pause: &axvm.PauseCommand{}}
	case "resume":
		command.What = &axvm.Command_Resume{Resume: &axvm.ResumeCommand{}}
	case "balloon":
		command.What = &axvm.Command_Balloon{Balloon: &axvm.BalloonCommand{TargetMib: proto.Uint64(shrunkMiB)}}
	case "shutdown":
		command.What = &axvm.Command_Shutdown{Shutdown: &axvm.ShutdownCommand{}}
	}
	if err := v.write(&axvm.ControlStream{Commands: []*axvm.Command{command}}); err != nil {
		return err
	}
	err := v.await(func(event *axvm.Event) (bool, error) {
		reply := event.GetReply()
		if reply != nil && !reply.GetOk() {
			return false, fmt.Errorf("%s", reply.GetError().GetMessage())
		}
		return reply.GetRequestId() == v.requests, nil
	})
	if err != nil || name != "balloon" {
		return err
	}
	// The reply says that the guest is asked, and an event of its own that it is done.
	return v.await(func(event *axvm.Event) (bool, error) {
		settled := event.GetBalloonSettled()
		if settled != nil && !settled.GetReached() {
			return false, fmt.Errorf("it has %d MiB", settled.GetActualMib())
		}
		return settled != nil, nil
	})
}

// end waits for the terminal event, for the end of fd 4 and for the process, whose status is the event's.
func (v *vm) end() (string, error) {
	var terminal *axvm.Terminal
	err := v.await(func(event *axvm.Event) (bool, error) {
		terminal = event.GetTerminal()
		return terminal != nil, nil
	})
	if err != nil {
		return "", err
	}
	if _, err := v.next(); err != io.EOF {
		return "", fmt.Errorf("after the terminal event: %v", err)
	}
	_ = v.process.Wait() // its error is the status, which is looked at
	status := v.process.ProcessState.ExitCode()
	if status != int(terminal.GetExitStatus()) {
		return "", fmt.Errorf("status %d, but the terminal event says %d", status, terminal.GetExitStatus())
	}
	if terminal.GetOutcome() != axvm.Outcome_OUTCOME_POWER_OFF {
		return "", fmt.Errorf("%s", terminal.GetMessage())
	}
	return fmt.Sprintf("%s, status %d", terminal.GetOutcome(), status), nil
}

// live is the whole life of a VM, and what is to be told of it.
func live(shim, id string, image *os.File, plan []string) (string, error) {
	v, err := launch(shim, id, image)
	if err != nil {
		return "", fmt.Errorf("%s: launch: %w", id, err)
	}
	if err := v.await(running); err != nil {
		return "", fmt.Errorf("%s: launch: %w", id, err)
	}
	for _, command := range plan {
		if err := v.do(command); err != nil {
			return "", fmt.Errorf("%s: %s: %w", id, command, err)
		}
	}
	end, err := v.end()
	if err != nil {
		return "", fmt.Errorf("%s: end: %w", id, err)
	}
	return fmt.Sprintf("%s: %s: %s", id, strings.Join(plan, ", "), end), nil
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: five SHIM IMAGE")
		os.Exit(64)
	}
	image, err := os.Open(os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, "five:", err)
		os.Exit(66)
	}
	type result struct {
		text string
		err  error
	}
	results := make([]chan result, len(plans))
	for i := range plans {
		results[i] = make(chan result, 1)
		go func(i int) {
			text, err := live(os.Args[1], fmt.Sprintf("five-%d", i), image, plans[i])
			results[i] <- result{text, err}
		}(i)
	}
	status := 0
	for i := range results {
		if r := <-results[i]; r.err != nil {
			// Those that still run end with us (OnControlEof).
			fmt.Fprintln(os.Stderr, "five:", r.err)
			status = 1
		} else {
			fmt.Println(r.text)
		}
	}
	os.Exit(status)
}
