# SPDX-License-Identifier: MIT
# One Makefile, not recursive. `make help` lists the targets.
MAKEFLAGS += --no-builtin-rules
SHELL := /bin/bash
.DELETE_ON_ERROR:
.SUFFIXES:

B ?= build
CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
O ?= -O2
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wcast-qual \
        -Wwrite-strings -Wvla -Werror
HARD := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE
INC  := -I. -Iruntime -I$(B)/gen
# gnu17 predefines `linux` as 1, and the schema has a field of that name.
DEFS := -D_GNU_SOURCE -Ulinux
CFLAGS_ALL := -std=gnu17 -g $(O) $(WARN) $(HARD) $(DEFS) $(INC) -MMD -MP $(CFLAGS) $(SAN)
LDFLAGS_ALL := -Wl,-z,relro,-z,now -Wl,-z,noexecstack $(LDFLAGS) $(SAN)

PKGS := libprotobuf-c liburing libcap-ng
LIBS := $(shell pkg-config --static --libs $(PKGS) 2>/dev/null) -lnuma

.PHONY: all
all: $(B)/axvm-shim guests

# ---- profiles: text protobuf, checked against its schema and embedded as bytes -----------------
PROFILES := $(sort $(wildcard profiles/cpu/*.txtpb))
PROFILE_SRCS := $(B)/gen/proto/profile.pb-c.c $(B)/gen/profiles/cpu.c
PROFILE_HDRS := $(B)/gen/proto/profile.pb-c.h
$(B)/gen/proto/profile.pb-c.c: proto/profile.proto proto/axvm.proto
	@mkdir -p $(@D)
	protoc-c --c_out=$(B)/gen $<
$(B)/gen/proto/profile.pb-c.h: $(B)/gen/proto/profile.pb-c.c ;
$(B)/gen/profiles/cpu.c: $(PROFILES) proto/profile.proto proto/axvm.proto
	@mkdir -p $(@D)
	@set -eo pipefail; { echo '#include "host/profile_embedded.h"'; \
	for f in $(PROFILES); do n=$$(basename $$f .txtpb); \
	  echo "static const unsigned char $$n[] = {"; \
	  protoc --encode=axvm.v1.Profile proto/profile.proto <$$f | od -An -v -tx1 | \
	    sed 's/ \([0-9a-f][0-9a-f]\)/0x\1,/g'; echo "};"; done; \
	echo "const struct profile_embedded profiles_embedded[] = {"; \
	for f in $(PROFILES); do n=$$(basename $$f .txtpb); echo "{\"$$n\", $$n, sizeof($$n)},"; done; \
	echo "};"; echo "const size_t profiles_embedded_count = $(words $(PROFILES));"; } >$@

# ---- rooms -----------------------------------------------------------------------------------
# A room's .c files are all of that folder; main.c files belong to their program alone.
ROOMS := runtime/base runtime/shim runtime/host runtime/machine runtime/boot runtime/bus \
         runtime/virtio runtime/io runtime/launch/cli sandbox
ROOM_SRCS := $(filter-out %/main.c,$(wildcard $(addsuffix /*.c,$(ROOMS))))
GEN_SRCS := $(B)/gen/proto/axvm.pb-c.c $(PROFILE_SRCS)
GEN_HDRS := $(B)/gen/proto/axvm.pb-c.h $(PROFILE_HDRS)
CORE_OBJS := $(ROOM_SRCS:%.c=$(B)/obj/%.o) $(GEN_SRCS:$(B)/gen/%.c=$(B)/obj/gen/%.o)

$(B)/obj/%.o: %.c | $(GEN_HDRS)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -c -o $@ $<

# Generated code answers to its generator's taste in warnings, not to ours.
$(B)/obj/gen/%.o: $(B)/gen/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -w -c -o $@ $<

$(B)/gen/proto/axvm.pb-c.c: proto/axvm.proto
	@mkdir -p $(@D)
	protoc-c --c_out=$(B)/gen $<
$(B)/gen/proto/axvm.pb-c.h: $(B)/gen/proto/axvm.pb-c.c ;

$(B)/libaxvm-core.a: $(CORE_OBJS)
	@rm -f $@
	ar rcs $@ $^

$(B)/axvm-shim: $(B)/obj/runtime/shim/main.o $(B)/libaxvm-core.a
	$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -static-pie -o $@ $^ $(LIBS)

# ---- bare-metal guests: flat 64-bit images, one behaviour each ---------------------------------
GUEST_BINS := $(patsubst tests/guests/%.S,$(B)/guests/%.bin,$(wildcard tests/guests/*.S))
.PHONY: guests
guests: $(GUEST_BINS)

# ---- tests ------------------------------------------------------------------------------------
UNIT_OBJS := $(patsubst %.c,$(B)/obj/%.o,$(wildcard tests/unit/*.c))
$(B)/tests/unit: $(UNIT_OBJS) $(B)/libaxvm-core.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -pie -o $@ $^ $(LIBS) -lcriterion

.PHONY: unit
unit: $(B)/tests/unit
	$(B)/tests/unit

.PHONY: clean
clean:
	rm -rf $(B)

-include $(shell [ -d $(B)/obj ] && find $(B)/obj -name '*.d')
