/* SPDX-License-Identifier: MIT */
/* The control socket: each reply goes to who asked, with the number that was asked by, and to
 * nobody else. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "interface/wire.h"
#include "launch/cli/server.h"
#include "launch/vm.h"

#define WAIT_MS 20000

static struct server server;
static struct axvm_vm vm;
static int shim_end; /* where the commands of the VM come out */
static char folder[64], path[80];

static void open_all(void)
{
	int pair[2];

	strcpy(folder, "/tmp/axvm-server-XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/sock", folder);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	vm = (struct axvm_vm){
		.control_fd = pair[0], .event_fd = -1, .pidfd = -1, .next_request_id = 1000
	};
	shim_end = pair[1];
	memset(&server, 0, sizeof(server));
	cr_assert_eq(server_open(&server, path, &vm), 0);
}

static void close_all(void)
{
	server_close(&server);
	cr_assert_eq(access(path, F_OK), -1, "the socket is gone");
	rmdir(folder);
	close(shim_end);
	close(vm.control_fd);
	free(vm.queue);
}

TestSuite(launch_server, .init = open_all, .fini = close_all);

/* One turn of the server's loop, with whatever is there by then. */
static void turn(void)
{
	struct pollfd fds[SERVER_POLLFDS];

	server_watch(&server, fds);
	cr_assert_gt(poll(fds, SERVER_POLLFDS, WAIT_MS), 0);
	server_serve(&server, fds);
}

static int connect_client(void)
{
	struct sockaddr_un address;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(sockets_address(path, &address), 0);
	cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	turn();
	return fd;
}

/* A status command by the client's own number. */
static void ask(int client, uint8_t number)
{
	const uint8_t bytes[] = { 0x12, 4, 0x08, number, 0x2a, 0 };

	cr_assert_lt(number, 128);
	cr_assert_eq(send(client, bytes, sizeof(bytes), 0), (ssize_t)sizeof(bytes));
	turn();
}

/* The number under which the VM got the next command. */
static uint64_t passed_on(void)
{
	uint8_t bytes[64];
	ssize_t n = recv(shim_end, bytes, sizeof(bytes), MSG_DONTWAIT);
	Axvm__V1__ControlStream *stream;
	uint64_t number;

	cr_assert_gt(n, 0, "nothing was passed on");
	stream = axvm__v1__control_stream__unpack(NULL, (size_t)n, bytes);
	cr_assert(stream && stream->n_commands == 1);
	number = stream->commands[0]->request_id;
	axvm__v1__control_stream__free_unpacked(stream, NULL);
	return number;
}

static bool reply_to(uint64_t number)
{
	Axvm__V1__Event event = AXVM__V1__EVENT__INIT;
	Axvm__V1__Reply reply = AXVM__V1__REPLY__INIT;

	reply.has_request_id = reply.has_ok = reply.ok = true;
	reply.request_id = number;
	event.body_case = AXVM__V1__EVENT__BODY_REPLY;
	event.reply = &reply;
	return server_reply(&server, &event);
}

/* The number in the reply that a client has got; 0 when it has got none. */
static uint64_t answered(int client)
{
	struct wire_field field;
	struct wire_cursor cursor;
	Axvm__V1__Event *event;
	uint8_t bytes[256];
	ssize_t n = recv(client, bytes, sizeof(bytes), MSG_DONTWAIT);
	uint64_t number;

	if (n <= 0)
		return 0;
	cursor = (struct wire_cursor){ bytes, bytes + n };
	cr_assert_eq(wire_next(&cursor, &field), 1);
	cr_assert_eq(cursor.at, cursor.end, "one reply at a time");
	event = axvm__v1__event__unpack(NULL, field.length, field.bytes);
	cr_assert(event && event->body_case == AXVM__V1__EVENT__BODY_REPLY);
	number = event->reply->request_id;
	axvm__v1__event__free_unpacked(event, NULL);
	return number;
}

/* Two clients by the same number, answered in the other order. */
Test(launch_server, each_reply_goes_to_who_asked)
{
	int a = connect_client(), b = connect_client();
	uint64_t of_a, of_b;

	ask(a, 7);
	of_a = passed_on();
	ask(b, 7);
	of_b = passed_on();
	cr_assert_neq(of_a, of_b, "numbers of ours are unique");
	cr_assert(reply_to(of_b));
	cr_assert_eq(answered(b), 7);
	cr_assert_eq(answered(a), 0);
	cr_assert(reply_to(of_a));
	cr_assert_eq(answered(a), 7);
	cr_assert_eq(answered(b), 0);
	/* Once, and what none of them asked is not theirs. */
	cr_assert_not(reply_to(of_a));
	cr_assert_not(reply_to(7));
	close(a);
	close(b);
}

/* The reply to one that has left is dropped: whoever has its place by then has not asked. */
Test(launch_server, a_reply_to_one_that_left_goes_to_nobody)
{
	int a = connect_client(), b;
	uint64_t of_a, of_b;

	ask(a, 7);
	of_a = passed_on();
	close(a);
	turn();
	b = connect_client();
	cr_assert_eq(server.clients[0].fd >= 0 && server.clients[1].fd < 0, true,
	             "in the place of the first");
	ask(b, 9);
	of_b = passed_on();
	cr_assert(reply_to(of_a), "it was one of theirs");
	cr_assert_eq(answered(b), 0, "a reply to somebody else");
	cr_assert(reply_to(of_b));
	cr_assert_eq(answered(b), 9);
	close(b);
}

/* What is no command stream ends its client, and it alone. */
Test(launch_server, garbage_ends_its_client_alone)
{
	int a = connect_client(), b = connect_client();
	char byte;

	cr_assert_eq(send(b, "\x08\x01", 2, 0), 2);
	turn();
	cr_assert_eq(recv(b, &byte, 1, MSG_DONTWAIT), 0, "disconnected");
	ask(a, 5);
	cr_assert(reply_to(passed_on()));
	cr_assert_eq(answered(a), 5);
	close(a);
	close(b);
}

/* Sends so many commands at once, with the numbers from `first` on. */
static void ask_many(int client, uint8_t first, uint8_t count)
{
	uint8_t bytes[128 * 6];
	size_t n = 0;

	for (uint8_t i = first; i < first + count; i++)
		for (size_t b = 0; b < 6; b++)
			bytes[n++] = (const uint8_t[]){ 0x12, 4, 0x08, i, 0x2a, 0 }[b];
	cr_assert_eq(send(client, bytes, n, 0), (ssize_t)n);
	turn();
}

/* The numbers under which the VM got commands; how many. */
static size_t all_passed_on(uint64_t numbers[128])
{
	static uint8_t bytes[65536];
	ssize_t n = recv(shim_end, bytes, sizeof(bytes), MSG_DONTWAIT);
	Axvm__V1__ControlStream *stream;
	size_t count;

	if (n <= 0)
		return 0;
	stream = axvm__v1__control_stream__unpack(NULL, (size_t)n, bytes);
	cr_assert_not_null(stream);
	count = stream->n_commands;
	for (size_t i = 0; i < count; i++)
		numbers[i] = stream->commands[i]->request_id;
	axvm__v1__control_stream__free_unpacked(stream, NULL);
	return count;
}

/* As many as there are places, each with a command under way; the next is turned away, and comes in
 * when one has left. */
Test(launch_server, places_are_bounded_and_given_again)
{
	int clients[SERVER_CLIENTS_MAX], more;
	uint64_t numbers[128];
	char byte;

	for (size_t i = 0; i < SERVER_CLIENTS_MAX; i++)
		ask(clients[i] = connect_client(), 9);
	more = connect_client();
	cr_assert_eq(recv(more, &byte, 1, MSG_DONTWAIT), 0, "turned away");
	cr_assert_eq(all_passed_on(numbers), SERVER_CLIENTS_MAX);
	close(more);
	close(clients[3]);
	turn();
	clients[3] = connect_client();
	ask(clients[3], 3);
	cr_assert(reply_to(passed_on()));
	cr_assert_eq(answered(clients[3]), 3);
	for (size_t i = 0; i < SERVER_CLIENTS_MAX; i++)
		close(clients[i]);
}

/* Those that say nothing keep nobody out: who has been silent for longest goes, but none that waits
 * for its reply. */
Test(launch_server, idle_clients_make_way)
{
	int clients[SERVER_CLIENTS_MAX], more;
	uint64_t number;
	char byte;

	for (size_t i = 0; i < SERVER_CLIENTS_MAX; i++)
		clients[i] = connect_client();
	ask(clients[0], 1); /* waits */
	number = passed_on();
	ask(clients[1], 2); /* has its reply, and was heard of late */
	cr_assert(reply_to(passed_on()));
	cr_assert_eq(answered(clients[1]), 2);
	more = connect_client();
	ask(more, 3);
	cr_assert(reply_to(passed_on()));
	cr_assert_eq(answered(more), 3);
	cr_assert_eq(recv(clients[2], &byte, 1, MSG_DONTWAIT), 0, "the oldest silent one goes");
	for (size_t i = 0; i < SERVER_CLIENTS_MAX; i++)
		cr_assert(i == 2 || recv(clients[i], &byte, 1, MSG_DONTWAIT) < 0, "%zu", i);
	cr_assert(reply_to(number));
	cr_assert_eq(answered(clients[0]), 1);
	for (size_t i = 0; i < SERVER_CLIENTS_MAX; i++)
		close(clients[i]);
	close(more);
}

/* Of the commands of one client so many are under way; the others wait, in what was read and in the
 * socket, and the other clients do not wait with them. */
Test(launch_server, a_flood_of_commands_waits_its_turn)
{
	int a = connect_client(), b = connect_client();
	uint64_t numbers[128], of_b[128];
	size_t done = 0, count;

	ask_many(a, 1, 100);
	count = all_passed_on(numbers);
	cr_assert_eq(count, SERVER_PENDING_EACH);
	/* What comes besides is left in the socket, and asked for nobody. */
	ask_many(b, 7, 1);
	cr_assert_eq(all_passed_on(of_b), 1);
	cr_assert_eq(send(a, (const uint8_t[]){ 0x12, 4, 0x08, 101, 0x2a, 0 }, 6, 0), 6);
	cr_assert(reply_to(of_b[0]));
	cr_assert_eq(answered(b), 7);
	while (count > 0) {
		uint64_t next[128];

		for (size_t i = 0; i < count; i++) {
			cr_assert(reply_to(numbers[i]));
			cr_assert_eq(answered(a), ++done);
		}
		if (done == 100)
			turn(); /* the one that was left in the socket */
		count = all_passed_on(next);
		memcpy(numbers, next, sizeof(next));
		cr_assert_leq(count, SERVER_PENDING_EACH);
	}
	cr_assert_eq(done, 101);
	close(a);
	close(b);
}

/* A shim that replies to nothing costs those that ask, and not those that come after them. */
Test(launch_server, replies_that_are_lost_do_not_shut_it)
{
	uint64_t numbers[128], last;
	char byte;
	int a;

	for (int i = 0; i < 3 * SERVER_PENDING_MAX / SERVER_PENDING_EACH; i++) {
		a = connect_client();
		ask_many(a, 1, SERVER_PENDING_EACH + 5);
		cr_assert_eq(all_passed_on(numbers), SERVER_PENDING_EACH, "client %d", i);
		cr_assert_eq(recv(a, &byte, 1, MSG_DONTWAIT), -1, "it is still there");
		/* That it leaves is seen, although nothing is read of it. */
		close(a);
		turn();
		cr_assert_lt(server.clients[0].fd, 0);
	}
	last = numbers[SERVER_PENDING_EACH - 1];
	a = connect_client();
	ask_many(a, 9, 1);
	cr_assert_eq(all_passed_on(numbers), 1);
	cr_assert(reply_to(last), "of the latest of those that left it is known");
	cr_assert_eq(answered(a), 0);
	cr_assert(reply_to(numbers[0]));
	cr_assert_eq(answered(a), 9);
	close(a);
}

/* While a shim does not read what it has been sent, no client is read and none comes in; what has
 * been sent then is moved about in memory now and then, not at each command. */
Test(launch_server, a_shim_that_does_not_read_stops_its_clients)
{
	Axvm__V1__Command command = AXVM__V1__COMMAND__INIT;
	Axvm__V1__ResizeCommand resize = AXVM__V1__RESIZE_COMMAND__INIT;
	struct pollfd fds[SERVER_POLLFDS];
	static uint8_t taken[65536];
	int a = connect_client();
	static char id[4000];
	unsigned moves = 0;
	ssize_t n;

	memset(id, 'x', sizeof(id) - 1);
	command.what_case = AXVM__V1__COMMAND__WHAT_RESIZE;
	command.resize = &resize;
	resize.disk_id = id;
	for (int i = 0; i < 400; i++) {
		const uint8_t *before = vm.queue;

		cr_assert_eq(vm_send_command(&vm, &command, NULL), 0);
		moves += vm.queue != before;
	}
	cr_assert_eq(axvm_vm_flush(&vm), -EAGAIN);
	cr_expect_lt(moves, 15);
	cr_assert_eq(send(a, (const uint8_t[]){ 0x12, 4, 0x08, 7, 0x2a, 0 }, 6, 0), 6);
	server_watch(&server, fds);
	cr_assert_eq(fds[0].fd, -1, "none comes in");
	cr_assert_eq(poll(fds, SERVER_POLLFDS, 0), 0, "a client is read");
	do
		while ((n = recv(shim_end, taken, sizeof(taken), MSG_DONTWAIT)) > 0)
			;
	while (axvm_vm_flush(&vm) == -EAGAIN);
	while (recv(shim_end, taken, sizeof(taken), MSG_DONTWAIT) > 0)
		;
	turn();
	cr_assert(reply_to(passed_on()));
	cr_assert_eq(answered(a), 7);
	close(a);
}

/* For its owner alone, in a folder that is its owner's alone; whoever listens already is left
 * alone, whoever has gone is replaced. */
Test(launch_server, sockets_are_their_owners_alone)
{
	char deeper[96], in_it[112];
	struct stat st;
	int fd = -1, other = -1;

	umask(0);
	cr_assert_eq(lstat(path, &st), 0);
	cr_assert(S_ISSOCK(st.st_mode));
	cr_assert_eq(st.st_mode & 07777, 0600, "mode %o", st.st_mode & 07777);
	snprintf(deeper, sizeof(deeper), "%s/axvm", folder);
	setenv("XDG_RUNTIME_DIR", folder, 1);
	snprintf(in_it, sizeof(in_it), "%s/vm.sock", deeper);
	cr_assert_eq(sockets_listen(in_it, 1, &fd, NULL), 0);
	cr_assert_eq(lstat(deeper, &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0700, "mode %o", st.st_mode & 07777);
	cr_assert_eq(umask(0), 0, "the umask is put back");
	cr_assert_eq(sockets_listen(in_it, 1, &other, NULL), -EADDRINUSE);
	cr_assert_eq(other, -1);
	close(fd);
	cr_assert_eq(sockets_listen(in_it, 1, &other, NULL), 0, "nobody listens there any more");
	close(other);
	unlink(in_it);
	rmdir(deeper);
}

/* A folder that is not there is made where sockets are unless somebody says otherwise, and nowhere
 * else. */
Test(launch_server, no_folder_but_our_own_is_made)
{
	static const struct {
		const char *variable, *value, *made; /* below `folder` */
	} rows[] = {
		{ "XDG_RUNTIME_DIR", "", "axvm" },       { "AXVM_RUNTIME_DIR", "/one", "one" },
		{ "AXVM_RUNTIME_DIR", "/one//", "one" }, { "XDG_RUNTIME_DIR", "/elsewhere", NULL },
		{ "AXVM_RUNTIME_DIR", "/on", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *name = rows[i].made ? rows[i].made : "one";
		char value[96], below[96], in_it[112];
		int fd = -1;

		unsetenv("XDG_RUNTIME_DIR");
		unsetenv("AXVM_RUNTIME_DIR");
		snprintf(value, sizeof(value), "%s%s", folder, rows[i].value);
		setenv(rows[i].variable, value, 1);
		snprintf(below, sizeof(below), "%s/%s", folder, name);
		snprintf(in_it, sizeof(in_it), "%s/vm.sock", below);
		cr_expect_eq(sockets_listen(in_it, 1, &fd, NULL), rows[i].made ? 0 : -ENOENT,
		             "row %zu", i);
		cr_expect_eq(access(below, F_OK) == 0, rows[i].made != NULL, "row %zu", i);
		close(fd);
		unlink(in_it);
		rmdir(below);
	}
	cr_expect_not_null(strstr(sockets_listen_error(ENOENT), "there is no such folder"));
}

/* As many as are to wait do, and one more, as the kernel has it; the next is told to come again. */
Test(launch_server, as_many_wait_as_are_to)
{
	enum { BACKLOG = 5 };
	int listener = -1, clients[BACKLOG + 2];
	struct sockaddr_un address;
	char name[96];

	snprintf(name, sizeof(name), "%s/other", folder);
	cr_assert_eq(sockets_listen(name, BACKLOG, &listener, NULL), 0);
	cr_assert_eq(sockets_address(name, &address), 0);
	for (size_t i = 0; i < BACKLOG + 2; i++) {
		clients[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		cr_assert_eq(connect(clients[i], (struct sockaddr *)&address, sizeof(address)) == 0,
		             i <= BACKLOG, "%zu", i);
	}
	for (size_t i = 0; i < BACKLOG + 2; i++)
		close(clients[i]);
	close(listener);
	unlink(name);
}

/* What a client of the control socket cannot be asked for, or does not say. */
Test(launch_server, a_client_is_told_what_is_wrong)
{
	Axvm__V1__Command command = AXVM__V1__COMMAND__INIT;
	Axvm__V1__ResizeCommand resize = AXVM__V1__RESIZE_COMMAND__INIT;
	struct client client = { .fd = -1 };
	const Axvm__V1__Reply *reply;
	static char id[8192];
	char longest[SOCKET_PATH_MAX + 1], name[96];
	int listener = -1, fd;
	size_t over;

	memset(longest, 'x', SOCKET_PATH_MAX);
	longest[SOCKET_PATH_MAX] = '\0';
	cr_assert_eq(client_open(&client, longest), -ENAMETOOLONG);
	cr_assert_eq(sockets_listen(longest, 1, &fd, NULL), -ENAMETOOLONG);
	cr_assert_eq(client_open(&client, "/nonexistent/x"), -ENOENT);
	cr_assert_null(client.decoder);
	cr_assert_lt(client_peer(&client), 0);
	snprintf(name, sizeof(name), "%s/other", folder);
	cr_assert_eq(sockets_listen(name, 5, &listener, NULL), 0);
	cr_assert_eq(client_open(&client, name), 0);
	cr_assert_eq(client_peer(&client), getpid());
	/* As large as a shim takes, and a byte more, which is not even sent. */
	memset(id, 'x', sizeof(id) - 1);
	command.what_case = AXVM__V1__COMMAND__WHAT_RESIZE;
	command.resize = &resize;
	resize.disk_id = id;
	command.has_request_id = 1;
	command.request_id = 7;
	over = axvm__v1__command__get_packed_size(&command) - 4096;
	id[sizeof(id) - 1 - over] = '\0';
	cr_assert_eq(axvm__v1__command__get_packed_size(&command), 4096);
	cr_assert_eq(client_ask(&client, &command, 0, &reply), -ETIMEDOUT);
	id[sizeof(id) - 1 - over] = 'x';
	id[sizeof(id) - over] = '\0';
	cr_assert_eq(client_ask(&client, &command, 0, &reply), -EMSGSIZE);
	/* Bytes that are no events, then none any more. */
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	cr_assert_geq(fd, 0);
	cr_assert_eq(send(fd, "\x08\x01", 2, 0), 2);
	command.what_case = AXVM__V1__COMMAND__WHAT__NOT_SET;
	cr_assert_eq(client_ask(&client, &command, WAIT_MS, &reply), -EBADMSG);
	close(fd);
	client_close(&client);
	cr_assert_eq(client.fd, -1);
	cr_assert_eq(client_open(&client, name), 0);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	close(fd);
	cr_assert_eq(client_ask(&client, &command, WAIT_MS, &reply), -ECONNRESET);
	client_close(&client);
	client_close(&client);
	close(listener);
	cr_assert_eq(client_open(&client, name), -ECONNREFUSED);
	unlink(name);
}

/* A reply of some 250 KB goes out at once, to one that has not begun to read. */
Test(launch_server, a_large_reply_is_whole)
{
	static char text[250000], got[sizeof(text) + 64];
	Axvm__V1__Event event = AXVM__V1__EVENT__INIT;
	Axvm__V1__Reply reply = AXVM__V1__REPLY__INIT;
	Axvm__V1__Error error = AXVM__V1__ERROR__INIT;
	struct wire_cursor cursor = { (const uint8_t *)got, NULL };
	int a = connect_client();
	struct wire_field field;
	Axvm__V1__Event *back;
	size_t n = 0;

	ask(a, 7);
	memset(text, 'x', sizeof(text) - 1);
	error.message = text;
	reply.error = &error;
	reply.has_request_id = true;
	reply.request_id = passed_on();
	event.body_case = AXVM__V1__EVENT__BODY_REPLY;
	event.reply = &reply;
	cr_assert(server_reply(&server, &event));
	for (ssize_t more; (more = recv(a, got + n, sizeof(got) - n, MSG_DONTWAIT)) > 0;)
		n += (size_t)more;
	cursor.end = cursor.at + n;
	cr_assert_eq(wire_next(&cursor, &field), 1, "%zu bytes", n);
	cr_assert_eq(cursor.at, cursor.end);
	back = axvm__v1__event__unpack(NULL, field.length, field.bytes);
	cr_assert_not_null(back);
	cr_assert_str_eq(back->reply->error->message, text);
	cr_assert_eq(back->reply->request_id, 7);
	axvm__v1__event__free_unpacked(back, NULL);
	close(a);
}

/* One that does not take its replies is disconnected; the others are not. */
Test(launch_server, who_does_not_read_is_ended)
{
	static char text[250000], byte;
	Axvm__V1__Event event = AXVM__V1__EVENT__INIT;
	Axvm__V1__Reply reply = AXVM__V1__REPLY__INIT;
	Axvm__V1__Error error = AXVM__V1__ERROR__INIT;
	int a = connect_client(), b = connect_client();

	memset(text, 'x', sizeof(text) - 1);
	error.message = text;
	reply.error = &error;
	reply.has_request_id = true;
	event.body_case = AXVM__V1__EVENT__BODY_REPLY;
	event.reply = &reply;
	for (uint8_t i = 1; server.clients[0].fd >= 0; i++) {
		cr_assert_lt(i, 100, "it is never full");
		ask(a, i);
		reply.request_id = passed_on();
		cr_assert(server_reply(&server, &event));
	}
	ask(b, 5);
	cr_assert(reply_to(passed_on()));
	cr_assert_eq(answered(b), 5);
	while (recv(a, &byte, 1, MSG_DONTWAIT) == 1)
		;
	cr_assert_eq(recv(a, &byte, 1, MSG_DONTWAIT), 0);
	close(a);
	close(b);
}

/* Not open, it has nothing to watch, to serve or to close, and leaves what there is alone. */
Test(launch_server, one_that_is_not_open)
{
	static struct server none;
	struct pollfd fds[SERVER_POLLFDS];
	int twice = -1;

	server_watch(&none, fds);
	for (size_t i = 0; i < SERVER_POLLFDS; i++)
		cr_assert_eq(fds[i].fd, -1);
	for (size_t i = 0; i < SERVER_POLLFDS; i++)
		fds[i].revents = POLLIN;
	server_serve(&none, fds);
	server_close(&none);
	cr_assert_eq(server_open(&none, path, &vm), -EADDRINUSE);
	cr_assert_not(none.open);
	cr_assert_eq(access(path, F_OK), 0);
	cr_assert_eq(sockets_listen("/nonexistent/a/b", 1, &twice, NULL), -ENOENT);
	cr_assert_eq(twice, -1);
}
