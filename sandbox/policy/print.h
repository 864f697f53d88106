/* SPDX-License-Identifier: MIT */
/* Prints the compiled policies for people and for other tools. Not used by the shim. */
#ifndef AXVM_SANDBOX_POLICY_PRINT_H
#define AXVM_SANDBOX_POLICY_PRINT_H

#include <stdio.h>

#include "sandbox/policy.h"

/* All of these write to out; the caller checks its error flag. */

/* The reviewer's table: line, call, conditions, reason, and the number of BPF instructions. */
void sandbox_print_table(enum sandbox_role role, FILE *out);

/* The OCI runtime specification's "linux.seccomp" object (config-linux.md, Seccomp). A comparison
 * of 32 bits is SCMP_CMP_MASKED_EQ with value = mask and valueTwo = the value. */
void sandbox_print_oci(enum sandbox_role role, FILE *out);

/* One BPF instruction a line. */
void sandbox_print_bpf(enum sandbox_role role, FILE *out);

/* The instructions as the kernel gets them; sha256sum of this is the role's digest. */
void sandbox_print_raw(enum sandbox_role role, FILE *out);

/* "DIGEST  ROLE". */
void sandbox_print_digest(enum sandbox_role role, FILE *out);

#endif
