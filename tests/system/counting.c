/* SPDX-License-Identifier: MIT */
/* A shim that ends when it allocates after the seal: the product's own objects
 * and this one.
 *
 * The linker's --wrap puts these functions in front of the allocator, for the
 * product's objects and for those of the static C library alike. Until stage
 * run they only pass on. From then to the end of the process whoever allocates
 * ends the process with status 3. (A new mapping needs no counter: the seccomp
 * policies know no mmap.) AXVM_ALLOCATE=control, vcpu or io in the environment
 * has that thread allocate once, so that a test can see that it is seen. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/shim.h"

#define ALLOCATED 3

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
int __real_posix_memalign(void **ret, size_t alignment, size_t size);
int __wrap_posix_memalign(void **ret, size_t alignment, size_t size);
void __real_vcpu_loop(struct vcpu *vcpu);
void __wrap_vcpu_loop(struct vcpu *vcpu);
void __real_devices_serve(struct shim_io *io);
void __wrap_devices_serve(struct shim_io *io);
int __real_stage_run(struct shim *shim);
int __wrap_stage_run(struct shim *shim);

/* Set before the gate lets the other threads go: what they do in a guest's
 * service comes after it. */
static atomic_bool sealed;
static char chosen[16];

static void end_if_sealed(void)
{
	if (atomic_load(&sealed))
		syscall(SYS_exit_group, ALLOCATED);
}

void *__wrap_malloc(size_t size)
{
	end_if_sealed();
	return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	end_if_sealed();
	return __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	end_if_sealed();
	return __real_realloc(old, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
	end_if_sealed();
	return __real_aligned_alloc(alignment, size);
}

int __wrap_posix_memalign(void **ret, size_t alignment, size_t size)
{
	end_if_sealed();
	return __real_posix_memalign(ret, alignment, size);
}

static void allocate_as(const char *role)
{
	void *(*volatile allocate)(size_t) = malloc; /* or the compiler leaves it out */

	if (strcmp(chosen, role) == 0)
		free(allocate(1));
}

void __wrap_vcpu_loop(struct vcpu *vcpu)
{
	allocate_as("vcpu");
	__real_vcpu_loop(vcpu);
}

void __wrap_devices_serve(struct shim_io *io)
{
	allocate_as("io");
	__real_devices_serve(io);
}

int __wrap_stage_run(struct shim *shim)
{
	atomic_store(&sealed, true);
	allocate_as("control");
	return __real_stage_run(shim);
}

/* Before the shim clears its environment. */
__attribute__((constructor)) static void choose(void)
{
	const char *wish = getenv("AXVM_ALLOCATE");

	strncpy(chosen, wish ? wish : "", sizeof(chosen) - 1);
}
