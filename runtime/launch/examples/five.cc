// SPDX-License-Identifier: MIT

// Five VMs from C++: launched, followed, commanded and shut down, a thread each, with nothing but
// the schema and POSIX. README.md, beside this file, says what happens; five.c does it by libaxvm.
//
//   protoc --proto_path=/usr/share/axvm/proto --cpp_out=lite:. axvm.proto
//   c++ -I. -o five five.cc axvm.pb.cc -lprotobuf-lite -pthread
//   five /usr/sbin/axvm-shim IMAGE
#include <fcntl.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <future>
#include <iostream>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "axvm.pb.h"

namespace {

using google::protobuf::io::CodedInputStream;
using google::protobuf::io::FileInputStream;
using namespace axvm::v1;

// The oldest that has all that is used here: proto/released/CHANGELOG.md.
constexpr unsigned kInterface = 1;
constexpr int kImageFd = 5; // in the shim
constexpr int kSizeMib = 16, kShrunkMib = 12;
constexpr unsigned kPatienceSeconds = 120; // for all of it

const std::vector<std::vector<std::string>> kPlans = {{"pause", "resume", "shutdown"},
						      {"balloon", "shutdown"},
						      {"shutdown"},
						      {"shutdown"},
						      {"shutdown"}};

[[noreturn]] void Fail(const std::string &what, int error_number = 0)
{
	throw std::runtime_error(error_number ? what + ": " + std::strerror(error_number) : what);
}

// A file descriptor that is closed in time.
class Fd
{
public:
	explicit Fd(int fd = -1) : fd_(fd) {}
	Fd(const Fd &) = delete;
	Fd &operator=(const Fd &) = delete;
	~Fd() { Reset(); }
	void Reset(int fd = -1)
	{
		if (fd_ >= 0)
			close(fd_);
		fd_ = fd;
	}
	int get() const { return fd_; }

private:
	int fd_;
};

// Close-on-exec, as every descriptor of a program that starts others.
void MakePipe(Fd *read_end, Fd *write_end)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		Fail("pipe", errno);
	read_end->Reset(ends[0]);
	write_end->Reset(ends[1]);
}

LaunchSpec MakeSpec(const std::string &id)
{
	LaunchSpec spec;
	spec.set_vm_id(id);
	spec.set_profile("dev");
	spec.mutable_cpus()->set_count(1);
	spec.mutable_memory()->add_nodes()->set_size_mib(kSizeMib);
	FlatBoot *flat = spec.mutable_boot()->mutable_flat_boot();
	flat->mutable_image()->set_fd(kImageFd);
	flat->set_local_apic(true);
	spec.mutable_balloon(); // there is one, with all its defaults
	// When this program dies, its ends of all pipes are closed: no VM stays behind.
	spec.mutable_lifecycle()->set_on_control_eof(ON_CONTROL_EOF_STOP);
	return spec;
}

// A shim with both its streams.
class Vm
{
public:
	// Starts it and hands it the launch. What is wrong with that comes as a terminal event.
	Vm(const char *shim, int image, const std::string &id)
	{
		Fd control, events;
		MakePipe(&control, &control_);
		MakePipe(&events_, &events);
		Spawn(shim, {control.get(), events.get(), image});
		stream_.emplace(events_.get());
		ControlStream launch;
		*launch.mutable_launch() = MakeSpec(id);
		Write(launch);
	}

	void AwaitRunning()
	{
		while (!Next().has_running())
			continue;
	}

	// Sends a command and waits until it is done.
	void Do(const std::string &name)
	{
		ControlStream stream;
		Command *command = stream.add_commands();
		command->set_request_id(++requests_);
		if (name == "pause")
			command->mutable_pause();
		if (name == "resume")
			command->mutable_resume();
		if (name == "balloon")
			command->mutable_balloon()->set_target_mib(kShrunkMib);
		if (name == "shutdown")
			command->mutable_shutdown();
		Write(stream);
		const Event *event;
		do {
			event = &Next();
			if (event->has_reply() && !event->reply().ok())
				Fail(event->reply().error().message());
		} while (event->reply().request_id() != requests_);
		// The reply says that the guest is asked, and an event of its own that it is done.
		while (name == "balloon" && !event->has_balloon_settled())
			event = &Next();
		if (name == "balloon" && !event->balloon_settled().reached())
			Fail("it has " + std::to_string(event->balloon_settled().actual_mib()) +
			     " MiB");
	}

	// Waits for the terminal event, for the end of fd 4 and for the process, whose status is
	// the event's.
	std::string End()
	{
		while (!event_.has_terminal())
			if (!Read())
				Fail("fd 4 has ended without a terminal event");
		const Terminal terminal = event_.terminal();
		if (Read())
			Fail("an event after the terminal one");
		int status;
		if (waitpid(pid_, &status, 0) < 0)
			Fail("waitpid", errno);
		if (!WIFEXITED(status) ||
		    WEXITSTATUS(status) != static_cast<int>(terminal.exit_status()))
			Fail("wait status " + std::to_string(status) +
			     ", but the terminal event says " +
			     std::to_string(terminal.exit_status()));
		if (terminal.outcome() != OUTCOME_POWER_OFF)
			Fail(terminal.message());
		return Outcome_Name(terminal.outcome()) + ", status " +
		       std::to_string(terminal.exit_status());
	}

private:
	// The fds become 3, 4 and so on of the shim; of all others it has 2 alone.
	void Spawn(const char *shim, const std::vector<int> &fds)
	{
		char *const arguments[] = {const_cast<char *>(shim), nullptr};
		char *const environment[] = {nullptr};
		posix_spawn_file_actions_t actions;
		posix_spawnattr_t attributes;
		sigset_t none, all;
		sigemptyset(&none);
		sigfillset(&all);
		posix_spawn_file_actions_init(&actions);
		posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
		posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
		std::deque<Fd> high; // out of the way of the numbers that they become
		for (const int fd : fds) {
			high.emplace_back(fcntl(fd, F_DUPFD_CLOEXEC, 16));
			if (high.back().get() < 0)
				Fail("fcntl", errno);
			posix_spawn_file_actions_adddup2(&actions, high.back().get(),
							 2 + static_cast<int>(high.size()));
		}
		// Signals as they were before we changed any, and a session of its own: Ctrl-C is
		// ours to deal with.
		posix_spawnattr_init(&attributes);
		posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF |
							      POSIX_SPAWN_SETSIGMASK);
		posix_spawnattr_setsigdefault(&attributes, &all);
		posix_spawnattr_setsigmask(&attributes, &none);
		const int error =
			posix_spawn(&pid_, shim, &actions, &attributes, arguments, environment);
		posix_spawnattr_destroy(&attributes);
		posix_spawn_file_actions_destroy(&actions);
		if (error)
			Fail(shim, error);
	}

	// Appends to the ControlStream: the bytes of two messages are the message of both.
	void Write(const ControlStream &message)
	{
		const std::string bytes = message.SerializeAsString();
		// A shim that reads no more (EPIPE) is about to say why, in its terminal event.
		if (write(control_.get(), bytes.data(), bytes.size()) < 0 && errno != EPIPE)
			Fail("fd 3", errno);
	}

	// The next event goes to event_; false: the stream has ended. An EventStream on the wire is
	// event after event, each a tag, a length and that many bytes. Bodies of other kinds, and
	// those of a later schema, are there to be passed over.
	bool Read()
	{
		CodedInputStream in(&*stream_);
		uint32_t length;
		const uint32_t tag = in.ReadTag();
		if (tag == 0)
			return false;
		if (tag != (EventStream::kEventsFieldNumber << 3 | 2) || !in.ReadVarint32(&length))
			Fail("no event");
		const CodedInputStream::Limit limit = in.PushLimit(static_cast<int>(length));
		if (!event_.ParseFromCodedStream(&in) || in.BytesUntilLimit() != 0)
			Fail("an event is cut off");
		in.PopLimit(limit);
		if (event_.sequence() != ++sequence_)
			Fail("event " + std::to_string(sequence_) + " was lost");
		if (sequence_ == 1 && event_.interface_version() < kInterface)
			Fail("the shim has interface " +
			     std::to_string(event_.interface_version()));
		return true;
	}

	// An event that is not the last.
	const Event &Next()
	{
		if (!Read())
			Fail("fd 4 has ended without a terminal event");
		if (event_.has_terminal())
			Fail("it has ended: " + event_.terminal().message());
		return event_;
	}

	pid_t pid_ = -1;
	Fd control_, events_;
	std::optional<FileInputStream> stream_;
	Event event_;
	uint64_t sequence_ = 0, requests_ = 0;
};

// The whole life of a VM, and what is to be told of it.
std::string Live(const char *shim, int image, const std::string &id,
		 const std::vector<std::string> &plan)
{
	std::string told = id + ":", separator = " ", step = "launch";
	try {
		Vm vm(shim, image, id);
		vm.AwaitRunning();
		for (const std::string &command : plan) {
			vm.Do(step = command);
			told += separator + command;
			separator = ", ";
		}
		step = "end";
		return told + ": " + vm.End();
	} catch (const std::exception &error) {
		throw std::runtime_error(id + ": " + step + ": " + error.what());
	}
}

} // namespace

int main(int argc, char **argv)
{
	if (argc != 3) {
		std::cerr << "usage: five SHIM IMAGE\n";
		return 64;
	}
	// A pipe that nobody reads is an error of write(2).
	signal(SIGPIPE, SIG_IGN);
	alarm(kPatienceSeconds);
	const Fd image(open(argv[2], O_RDONLY | O_CLOEXEC));
	if (image.get() < 0) {
		std::cerr << "five: " << argv[2] << ": " << std::strerror(errno) << "\n";
		return 66;
	}
	std::vector<std::future<std::string>> lives;
	for (size_t i = 0; i < kPlans.size(); i++)
		lives.push_back(std::async(std::launch::async, Live, argv[1], image.get(),
					   "five-" + std::to_string(i), kPlans[i]));
	int status = 0;
	for (auto &life : lives) {
		try {
			std::cout << life.get() << std::endl;
		} catch (const std::exception &error) {
			// Those that still run end with us (on_control_eof).
			std::cerr << "five: " << error.what() << std::endl;
			status = 1;
		}
	}
	return status;
}
