/* SPDX-License-Identifier: MIT */
/* A fuzzer's bytes, taken from the front; when they are used up everything is 0. */
#ifndef AXVM_FUZZ_INPUT_H
#define AXVM_FUZZ_INPUT_H

#include <stdint.h>
#include <string.h>

#include "base/base.h"

struct input {
	const uint8_t *at;
	size_t left;
};

static inline uint64_t take(struct input *input, size_t width)
{
	uint64_t value = 0;
	size_t n = MIN(width, input->left);

	memcpy(&value, input->at, n);
	input->at += n;
	input->left -= n;
	return value;
}

/* Up to `wanted` bytes; *ret_length is how many there were. */
static inline const uint8_t *take_bytes(struct input *input, size_t wanted, size_t *ret_length)
{
	const uint8_t *bytes = input->at;

	*ret_length = MIN(wanted, input->left);
	input->at += *ret_length;
	input->left -= *ret_length;
	return bytes;
}

/* libFuzzer's names for what a fuzzer is made of. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#endif
