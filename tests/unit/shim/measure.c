/* SPDX-License-Identifier: MIT */
/* boot.measure: what is copied, what is sealed, and what is refused. That the digest is of what is
 * loaded is shown by whole launches (shim/launch_linux.c). */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/measure.h"
#include "tests/unit/rig/fake_kernel.h"
#include "tests/unit/rig/fake_kvm.h"

#define SEALS (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)
/* FIPS 180-4, "abc" */
#define ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static struct measured kernel_of(int fd)
{
	return (struct measured){ { fd, "boot.linux_boot.kernel" },
		                  "kernel",
		                  ERROR_CODE_KERNEL_INVALID };
}

static int file_of(const char *bytes, size_t size)
{
	int fd = memfd_create("file", MFD_CLOEXEC);

	cr_assert_eq(write(fd, bytes, size), (ssize_t)size);
	return fd;
}

Test(measure, the_copy_cannot_be_changed)
{
	int fd = file_of("abc", 3), copy = -1, seals;
	struct measured measured = kernel_of(fd);
	struct problems problems = { 0 };
	char text[SHA256_HEX_SIZE], bytes[4] = "";

	cr_assert_eq(measure_copy(&measured, 3, &copy, text, &problems), 0, "%s",
	             problems.list[0].message);
	cr_expect_str_eq(text, ABC);
	cr_expect_neq(copy, fd);
	seals = fcntl(copy, F_GET_SEALS);
	cr_expect_eq(seals & SEALS, SEALS, "seals 0x%x", (unsigned int)seals);
	cr_expect(pwrite(copy, "x", 1, 0) < 0 && errno == EPERM);
	cr_expect(ftruncate(copy, 2) < 0 && errno == EPERM);
	cr_expect(ftruncate(copy, 4) < 0 && errno == EPERM);
	cr_expect(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, copy, 0) == MAP_FAILED &&
	          errno == EPERM);
	cr_expect(fcntl(copy, F_GETFD) & FD_CLOEXEC);
	/* Where the kernel can seal that. */
	if (seals & 0x20)
		cr_expect(fchmod(copy, 0700) < 0 && errno == EPERM);
	cr_assert_eq(pwrite(fd, "xyz", 3, 0), 3);
	cr_assert_eq(pread(copy, bytes, 4, 0), 3);
	cr_expect_str_eq(bytes, "abc");
	close(copy);
	close(fd);
}

Test(measure, a_file_of_any_length_is_copied_whole)
{
	static const size_t sizes[] = { 1, 16 * KIB - 1, 16 * KIB, 16 * KIB + 1, 100001 };
	static char bytes[100001], again[100002];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 7 + i / 256);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		int fd = file_of(bytes, sizes[i]), copy = -1;
		struct measured measured = kernel_of(fd);
		struct problems problems = { 0 };
		char text[SHA256_HEX_SIZE], wanted[SHA256_HEX_SIZE];
		uint8_t digest[SHA256_SIZE];
		struct sha256 hash;

		sha256_begin(&hash);
		sha256_add(&hash, bytes, sizes[i]);
		sha256_end(&hash, digest);
		sha256_hex(digest, wanted);
		cr_assert_eq(measure_copy(&measured, sizes[i], &copy, text, &problems), 0);
		cr_expect_str_eq(text, wanted, "%zu bytes", sizes[i]);
		cr_assert_eq(pread(copy, again, sizeof(again), 0), (ssize_t)sizes[i]);
		cr_expect_eq(memcmp(again, bytes, sizes[i]), 0);
		close(copy);
		close(fd);
	}
}

static bool ends_early(int fd, void *buffer, size_t length, off_t offset, ssize_t *ret_result)
{
	(void)fd;
	(void)buffer;
	(void)length;
	*ret_result = 0;
	return offset >= 0;
}

/* Nothing is left open of what was refused. */
static void expect_refused(const struct measured *measured, uint64_t most,
                           enum axvm_error_code code, const char *says)
{
	struct problems problems = { 0 };
	char text[SHA256_HEX_SIZE] = "as it was";
	int next = dup(0), copy = -77, again;

	close(next);
	cr_expect_lt(measure_copy(measured, most, &copy, text, &problems), 0);
	again = dup(0);
	close(again);
	cr_expect_eq(again, next, "a descriptor is left open");
	cr_expect_eq(copy, -77);
	cr_expect_str_eq(text, "as it was");
	cr_assert_eq(problems.count, 1);
	cr_expect_eq(problems.list[0].code, code, "%d", problems.list[0].code);
	cr_expect_str_eq(problems.list[0].field, "boot.linux_boot.kernel");
	cr_expect_str_eq(problems.list[0].message, says);
}

Test(measure, what_cannot_be_copied_is_refused)
{
	int file = file_of("abcd", 4), empty = file_of("", 0), ends[2];
	struct measured measured = kernel_of(file);

	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	expect_refused(
		&measured, 3, ERROR_CODE_SPEC_INVALID,
		"the kernel has 4 bytes, and with boot.measure it may have 3: strip it, give the guest more "
		"memory, or launch without boot.measure");
	fake_read = ends_early;
	expect_refused(
		&measured, 4, ERROR_CODE_KERNEL_INVALID,
		"the kernel ends at byte 0, 4 bytes too early: it is truncated, or it shrank while it was read");
	fake_read = NULL;
	measured.file.fd = empty;
	expect_refused(&measured, 4, ERROR_CODE_KERNEL_INVALID, "the kernel is empty");
	measured.file.fd = ends[0];
	char says[128];
	snprintf(says, sizeof(says),
	         "the kernel (fd %d) is a pipe, not a regular file: save it to one first", ends[0]);
	expect_refused(&measured, 4, ERROR_CODE_RESOURCE_WRONG_KIND, says);
}

static long refused_call;
static int refused_with;

/* F_ADD_SEALS with an errno of 0: yes, and nothing is sealed. */
static bool refuses(long nr, const uint64_t args[static 6], long *ret_result)
{
	if (nr != refused_call || (nr == SYS_fcntl && args[1] != F_ADD_SEALS))
		return false;
	*ret_result = -refused_with;
	return true;
}

Test(measure, a_kernel_that_does_not_do_it_is_told)
{
	static const long calls[] = { SYS_memfd_create, SYS_write, SYS_fcntl };
#define WITHOUT "; launch without that"
	static const struct {
		long call;
		int error;
		enum axvm_error_code code;
		const char *says;
	} rows[] = {
		{ SYS_memfd_create, ENOSYS, ERROR_CODE_OS_FAILED,
		  "the kernel cannot be copied for boot.measure: Function not implemented" WITHOUT },
		{ SYS_write, ENOSPC, ERROR_CODE_MEMORY_UNAVAILABLE,
		  "the kernel cannot be copied for boot.measure: No space left on device" WITHOUT },
		{ SYS_write, EFBIG, ERROR_CODE_OS_FAILED,
		  "the kernel cannot be copied for boot.measure: File too large" WITHOUT },
		{ SYS_fcntl, EPERM, ERROR_CODE_OS_FAILED,
		  "the kernel cannot be sealed for boot.measure: Operation not permitted" WITHOUT },
		{ SYS_fcntl, 0, ERROR_CODE_OS_FAILED, NULL },
	};
	int file = file_of("abcd", 4);
	struct measured measured = kernel_of(file);

	cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	cr_assert_eq(fake_kernel_begin(calls, ARRAY_SIZE(calls), refuses), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char says[256];

		/* Seals of its own making are the kernel's: MFD_NOEXEC_SEAL's, where it has
		 * that. */
		refused_call = 0;
		int probe = (int)syscall(SYS_memfd_create, "probe",
		                         MFD_CLOEXEC | MFD_ALLOW_SEALING | 8u);

		snprintf(
			says, sizeof(says),
			"the copy of the kernel for boot.measure has seals 0x%x instead of 0xf: this kernel does not seal "
			"memory; launch without boot.measure",
			probe < 0 ? 0 : (unsigned int)fcntl(probe, F_GET_SEALS));
		close(probe);
		refused_call = rows[i].call;
		refused_with = rows[i].error;
		expect_refused(&measured, 4, rows[i].code, rows[i].says ? rows[i].says : says);
	}
}

/* Linux before 6.3 does not know the flag. */
static bool knows_no_exec_seal(long nr, const uint64_t args[static 6], long *ret_result)
{
	(void)nr;
	*ret_result = -EINVAL;
	return args[1] & 8;
}

Test(measure, an_older_kernel_seals_as_it_can)
{
	static const long calls[] = { SYS_memfd_create };
	int file = file_of("abc", 3), copy = -1;
	struct measured measured = kernel_of(file);
	struct problems problems = { 0 };
	char text[SHA256_HEX_SIZE];

	cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	cr_assert_eq(fake_kernel_begin(calls, ARRAY_SIZE(calls), knows_no_exec_seal), 0);
	cr_assert_eq(measure_copy(&measured, 3, &copy, text, &problems), 0, "%s",
	             problems.list[0].message);
	cr_expect_eq(fcntl(copy, F_GET_SEALS), SEALS);
	cr_expect_str_eq(text, ABC);
}
