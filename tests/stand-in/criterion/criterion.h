/* SPDX-License-Identifier: MIT */
/* As much of Criterion as the unit tests and their rigs use, for programs that Criterion cannot be
 * part of: its worker processes share memory at fixed addresses, which ThreadSanitizer and valgrind
 * have taken, and a fuzzer is a main() of its own. An assertion that does not hold says where and
 * aborts. */
#ifndef AXVM_STAND_IN_CRITERION_H
#define AXVM_STAND_IN_CRITERION_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct stand_in_options {
	void (*init)(void);
	void (*fini)(void);
	unsigned timeout; /* seconds; 0: the runner's */
};

struct stand_in_test {
	const char *suite, *name;
	void (*run)(void); /* NULL: the options of a suite */
	struct stand_in_options options;
	struct stand_in_test *next;
};

/* runner.c. A test is known before main() runs; tests run in the order of their files. */
void stand_in_add(struct stand_in_test *test);
/* Says what did not hold; the test has failed. */
void stand_in_failed(const char *file, int line, const char *what, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
_Noreturn void stand_in_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define STAND_IN_ADD(s, n, function, ...)                                                          \
	static struct stand_in_test stand_in_##s##_##n = {                                         \
		.suite = #s,                                                                       \
		.name = #n,                                                                        \
		.run = function,                                                                   \
		.options = { __VA_ARGS__ },                                                        \
	};                                                                                         \
	__attribute__((constructor)) static void stand_in_add_##s##_##n(void)                      \
	{                                                                                          \
		stand_in_add(&stand_in_##s##_##n);                                                 \
	}
#define Test(s, n, ...)                                                                            \
	static void s##_##n##_test(void);                                                          \
	STAND_IN_ADD(s, n, s##_##n##_test, __VA_ARGS__)                                            \
	static void s##_##n##_test(void)
#define TestSuite(s, ...) STAND_IN_ADD(s, options, NULL, __VA_ARGS__)

#define cr_expect(condition, ...)                                                                  \
	((condition) ? (void)0 : stand_in_failed(__FILE__, __LINE__, #condition, " " __VA_ARGS__))
#define cr_assert(condition, ...)                                                                  \
	((condition)                                                                               \
	         ? (void)0                                                                         \
	         : (stand_in_failed(__FILE__, __LINE__, #condition, " " __VA_ARGS__), abort()))

#define cr_assert_fail(...) cr_assert(false, __VA_ARGS__)
#define cr_assert_not(a, ...) cr_assert(!(a), __VA_ARGS__)
#define cr_assert_eq(a, b, ...) cr_assert((a) == (b), __VA_ARGS__)
#define cr_assert_neq(a, b, ...) cr_assert((a) != (b), __VA_ARGS__)
#define cr_assert_geq(a, b, ...) cr_assert((a) >= (b), __VA_ARGS__)
#define cr_assert_leq(a, b, ...) cr_assert((a) <= (b), __VA_ARGS__)
#define cr_assert_lt(a, b, ...) cr_assert((a) < (b), __VA_ARGS__)
#define cr_assert_gt(a, b, ...) cr_assert((a) > (b), __VA_ARGS__)
#define cr_assert_null(p, ...) cr_assert((p) == NULL, __VA_ARGS__)
#define cr_assert_not_null(p, ...) cr_assert((p) != NULL, __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...) cr_assert(strcmp((a), (b)) == 0, __VA_ARGS__)
#define cr_assert_arr_eq(a, b, n, ...) cr_assert(memcmp((a), (b), (n)) == 0, __VA_ARGS__)
#define cr_expect_not(a, ...) cr_expect(!(a), __VA_ARGS__)
#define cr_expect_eq(a, b, ...) cr_expect((a) == (b), __VA_ARGS__)
#define cr_expect_neq(a, b, ...) cr_expect((a) != (b), __VA_ARGS__)
#define cr_expect_geq(a, b, ...) cr_expect((a) >= (b), __VA_ARGS__)
#define cr_expect_gt(a, b, ...) cr_expect((a) > (b), __VA_ARGS__)
#define cr_expect_lt(a, b, ...) cr_expect((a) < (b), __VA_ARGS__)
#define cr_expect_leq(a, b, ...) cr_expect((a) <= (b), __VA_ARGS__)
#define cr_expect_null(p, ...) cr_expect((p) == NULL, __VA_ARGS__)
#define cr_expect_not_null(p, ...) cr_expect((p) != NULL, __VA_ARGS__)
#define cr_expect_str_eq(a, b, ...) cr_expect(strcmp((a), (b)) == 0, __VA_ARGS__)
#define cr_expect_arr_eq(a, b, n, ...) cr_expect(memcmp((a), (b), (n)) == 0, __VA_ARGS__)
#define cr_expect_str_empty(a, ...) cr_expect(*(a) == '\0', __VA_ARGS__)
#define cr_skip_test(...) stand_in_skip(" " __VA_ARGS__)

#endif
