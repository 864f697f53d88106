# SPDX-License-Identifier: MIT
# One Makefile, not recursive. `make help` lists the targets.
MAKEFLAGS += --no-builtin-rules
SHELL := /bin/bash
.DELETE_ON_ERROR:
.SUFFIXES:
# Nothing is written outside of $(B).
export PYTHONDONTWRITEBYTECODE := 1

B ?= build
# V=1 shows the commands.
Q := $(if $(V),,@)
comma := ,
say = $(if $(V),,@printf '  %-7s %s\n' $(1) $@)
CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
CXX ?= g++
# What runs once is built for size: its pages are private memory of every VM. What runs all the time
# is built for speed.
O ?= -Os
O_HOT ?= -O2
HOT := runtime/guest runtime/machine runtime/bus runtime/virtio runtime/io
# WERROR=1, which `make check` and CI say, makes errors of warnings; a user's build with a later
# compiler only warns.
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wcast-qual \
        -Wwrite-strings -Wvla $(if $(WERROR),-Werror)
# Sections of their own, so that the linker leaves out what nobody calls.
SPLIT := -ffunction-sections -fdata-sections
FORTIFY := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
HARD := -fstack-protector-strong
PIC  := -fPIE
INC  := -I. -Iruntime -I$(B)/gen
DEFS := -D_GNU_SOURCE
CFLAGS_ALL = -std=gnu17 -g $(O) $(SPLIT) $(WARN) $(HARD) $(FORTIFY) $(PIC) $(DEFS) $(INC) -MMD -MP $(CFLAGS) $(SAN)
LDFLAGS_ALL := -Wl,-z,relro,-z,now -Wl,-z,noexecstack $(LDFLAGS) $(SAN)

# $(call compile,SAY,FLAGS) makes an object, in one shell. What the compiler says is kept: WERROR=1
# compiles again what was compiled with a warning before.
compile = $(Q)[ -d $(@D) ] || mkdir -p $(@D); $(if $(V),,printf '  %-7s %s\n' $(1) $@;) \
	$(CC) $(2) -c -o $@ $< 2>$@.said; status=$$?; \
	if [ -s $@.said ]; then cat $@.said >&2; else rm $@.said; fi; exit $$status

PKGS := libprotobuf-c liburing libcap-ng
# Expanded when a program is linked: the packages may have been installed only just before.
LIBS = $(shell pkg-config --static --libs $(PKGS))

# See sandbox/no_nss.c: taken from the archive although nobody has asked for them yet. The script
# adds to the linker's own: it says what lies side by side.
STEADY := runtime/shim/steady.ld
SHIM_LDFLAGS := -Wl,-u,getpwuid -Wl,--gc-sections -Wl,-z,max-page-size=65536 -Wl,-T,$(STEADY)

.PHONY: all help
all: $(B)/.rooms $(B)/axvm-shim $(B)/axvm $(B)/libaxvm.a $(B)/libaxvm.so.0 $(B)/.globals guests

help:
	@echo 'make            build everything into $(B)/ (installs missing Debian packages)'
	@echo 'make demo       boot a stock Linux under axvm-shim and show console, events, status'
	@echo 'make check      build and run every test; what CI runs'
	@echo 'make unit       the Criterion unit tests alone'
	@echo 'make system     bare-metal guests and bad input against /dev/kvm'
	@echo 'make lab        the tests that need an emulated two-node host'
	@echo 'make lab-shell  a shell in that host, with axvm, a kernel and an initramfs at hand: the tour without KVM'
	@echo 'make lab-devices  long runs in the lab: fio, 1 GiB through TAPs, a crash, the balloon under stock Linux'
	@echo 'make lab-foreign  what of the Debian archive starts by the Linux protocol or PVH, in the lab'
	@echo 'make other-debian  demo, unit and system tests in Debian 13 on a Debian 12, or the reverse (hack/debian)'
	@echo 'make nightly    long versions: a reader of events that stalls for a minute, 200 VMs'
	@echo 'make lab-ivy    the xv2 profile on an emulated Xeon E5-2680 v2 and a client Ivy Bridge'
	@echo 'make audit      the seccomp policies against the code and the tests'
	@echo 'make schema     proto/axvm.proto against the last release, and what must be refused'
	@echo 'make policy-test   every system call number and argument under each filter'
	@echo 'make sandbox-test  a running shim seen from outside, and every misdeed of every thread'
	@echo 'make fuzz       every fuzzer for FUZZ_SECONDS=60'
	@echo 'make prove      Spin models of the seal and of notifications, Frama-C proofs, with their mutations'
	@echo 'make crash-safety  the shim killed KILLS=200 times while its guest writes'
	@echo 'make soak       SOAK_LAUNCHES=10000, then one busy VM for SOAK_SECONDS=3600'
	@echo 'make mutants    small faults put into a copy of the tree, one at a time: do the tests notice? some minutes'
	@echo 'make sanitize   unit tests under ASan, UBSan, TSan and memcheck; the sealed shim with UBSan'
	@echo 'make hostile    a million operations of a hostile guest; make failing-host: every call of a launch fails'
	@echo 'make bench      measurements, side by side in one run; make bench-lab: with Linux guests too'
	@echo 'make examples   orchestrators in C, C++, Python and Go (runtime/launch/examples)'
	@echo 'make install    PREFIX=/usr/local DESTDIR=; also: uninstall, deb (a Debian package)'
	@echo 'make release    VERSION=X.Y: stamped, noted, committed, tagged (hack/release)'
	@echo 'make by-clang   everything and its tests once more, by clang, into $(B)/clang/'
	@echo 'make format     every C file as .clang-format has it; make check looks'
	@echo 'make tidy       clang-tidy over every C file, by .clang-tidy: some minutes'
	@echo 'make compile_commands.json  how each file is compiled, for editors (in $(B)/)'
	@echo 'make clean      remove $(B)/'
	@echo 'AXVM_NO_INSTALL=1 names the packages that are missing instead of installing them.'

# ---- packages: checked in milliseconds, installed only when something is missing ---------------
# One purpose at a time: apt waits for no other one that fetches its lists.
$(B)/.packages-%: hack/install-deps
	@mkdir -p $(@D)
	@flock $(@D)/.packages.lock hack/install-deps $*
	@touch $@

# What is generated comes first of all, so that every build begins with the packages.
GEN_FIRST := $(B)/.packages-build

# ---- profiles: text protobuf, checked against its schema and embedded as bytes -----------------
PROFILES := $(sort $(wildcard profiles/cpu/*.txtpb))
PROFILE_SRCS := $(B)/gen/proto/profile.pb-c.c $(B)/gen/profiles/cpu.c
PROFILE_HDRS := $(B)/gen/proto/profile.pb-c.h
$(B)/gen/proto/profile.pb-c.c: proto/profile.proto proto/axvm.proto | $(GEN_FIRST)
	@mkdir -p $(@D)
	$(call say,PROTO)
	$(Q)protoc --c_out=$(B)/gen $<
$(B)/gen/proto/profile.pb-c.h: $(B)/gen/proto/profile.pb-c.c ;
$(B)/gen/profiles/cpu.c: $(PROFILES) proto/profile.proto proto/axvm.proto runtime/interface/profile_embedded.h | $(GEN_FIRST)
	@mkdir -p $(@D)
	$(call say,PROFILE)
	$(Q)set -eo pipefail; { echo '#include "interface/profile_embedded.h"'; \
	n=0; for f in $(PROFILES); do n=$$((n + 1)); \
	  grep -qx "name: \"$$(basename $$f .txtpb)\"" $$f || \
	    { echo "$$f: a profile is called as its file: name: \"$$(basename $$f .txtpb)\"" >&2; exit 1; }; \
	  echo "static const unsigned char profile_$$n[] = {"; \
	  protoc --encode=axvm.v1.Profile proto/profile.proto <$$f | od -An -v -tx1 | \
	    sed 's/ \([0-9a-f][0-9a-f]\)/0x\1,/g'; echo "};"; done; \
	echo "const struct profile_embedded profiles_embedded[] = {"; \
	n=0; for f in $(PROFILES); do n=$$((n + 1)); \
	  echo "{\"$$(basename $$f .txtpb)\", profile_$$n, sizeof(profile_$$n)},"; done; \
	echo "};"; echo "const size_t profiles_embedded_count = $(words $(PROFILES));"; \
	echo 'const char profiles_embedded_names[] = "$(foreach p,$(basename $(notdir $(PROFILES))),\"$(p)\")";' | \
	  sed 's/" \\"/", \\"/g; s/\(.*\), /\1 or /'; } >$@

# ---- rooms -----------------------------------------------------------------------------------
# A room's .c files are all of that folder; main.c files belong to their program alone.
ROOMS := runtime/base runtime/interface runtime/guest runtime/shim runtime/shim/device runtime/host runtime/machine runtime/boot runtime/bus \
         runtime/virtio runtime/io runtime/launch runtime/launch/cli sandbox sandbox/policy
ROOM_SRCS := $(filter-out %/main.c,$(wildcard $(addsuffix /*.c,$(ROOMS))))
GEN_SRCS := $(B)/gen/proto/axvm.pb-c.c $(PROFILE_SRCS)
GEN_HDRS := $(B)/gen/proto/axvm.pb-c.h $(B)/gen/proto/enums.h $(PROFILE_HDRS)
GEN_SRCS += $(addprefix $(B)/gen/sandbox/,policies.c policy_rules.c syscall_names.c)
GEN_HDRS += $(B)/gen/boot/dsdt.h
CORE_OBJS := $(ROOM_SRCS:%.c=$(B)/obj/%.o) $(GEN_SRCS:$(B)/gen/%.c=$(B)/obj/gen/%.o)

$(B)/obj/%.o: %.c | $(GEN_HDRS)
	$(call compile,CC,$(CFLAGS_ALL))

$(foreach room,$(HOT),$(B)/obj/$(room)/%.o): O = $(O_HOT)
# The machine's digest is made in every launch, that of a kernel where the spec asks for it.
$(B)/obj/runtime/base/sha256.o: O = $(O_HOT)

# Generated code answers to its generator's taste in warnings, not to ours. It includes what is
# generated, too.
$(B)/obj/gen/%.o: $(B)/gen/%.c | $(GEN_HDRS)
	$(call compile,CC,$(CFLAGS_ALL) -w)

# What is generated of the schema is written only where it differs: a changed comment compiles
# nothing, and a new field does not compile rooms that know the enums alone. SCHEMA_MADE is the time
# of the last look.
SCHEMA_MADE := $(B)/gen/proto/axvm.made
$(SCHEMA_MADE): proto/axvm.proto | $(GEN_FIRST)
	@mkdir -p $(@D) $(B)/gen/new/proto
	$(call say,PROTO)
	$(Q)protoc --c_out=$(B)/gen/new $<
	$(Q)$(schema_enums) $< >$(B)/gen/new/proto/enums.h
	$(Q)for new in $(B)/gen/new/proto/*; do \
		cmp -s $$new $(@D)/$${new##*/} || mv $$new $(@D)/ || exit; done; touch $@
$(addprefix $(B)/gen/proto/,axvm.pb-c.c axvm.pb-c.h enums.h): $(SCHEMA_MADE)
	@[ -e $@ ] || { rm $< && $(MAKE) --no-print-directory $<; }
# The schema's enums and oneofs as plain C, for rooms that know no protobuf: enum axvm_page_size {
# PAGE_SIZE_4K = 1, … }, enum axvm_boot_kind { BOOT_KIND_NOT_SET, BOOT_KIND_LINUX_BOOT = 1, … }.
schema_enums = awk 'BEGIN { print "\#pragma once" } \
		/^enum / { name = $$2; gsub(/[A-Z]/, "_&", name); print "enum axvm" tolower(name) " {"; inside = 1 } \
		/^message / { message = $$2; gsub(/[A-Z]/, "_&", message); message = substr(message, 2) } \
		/^ *oneof / { name = message "_" $$2; member = toupper(name) "_"; inside = 1; \
			print "enum axvm_" tolower(name) " { " member "NOT_SET = 0," } \
		inside && $$2 == "=" { sub(/;.*/, "", $$3); print $$1 " = " $$3 "," } \
		inside && $$3 == "=" { sub(/;.*/, "", $$4); print member toupper($$2) " = " $$4 "," } \
		inside && /}/ { print "};"; inside = 0 }'

# ---- acpi: dsdt.asl -> preprocessor -> iasl -> a C array -----------------------------------------
# iasl knows no `u` suffix, and folds no constants inside resource descriptors: SUM(…) is worked out
# here. Its chatter is shown only when it fails; a warning is a failure.
$(B)/gen/boot/dsdt.h: runtime/boot/dsdt.asl runtime/guest/layout.h | $(GEN_FIRST)
	@mkdir -p $(@D)
	$(call say,ASL)
	$(Q)set -o pipefail; $(CC) -E -P -x assembler-with-cpp -Iruntime $< | \
		perl -pe 's/\b(0x[0-9a-f]+|\d+)u\b/$$1/gi; s/\bSUM\(([-+\w ]+)\)/eval $$1/ge' \
		>$(@D)/dsdt.asl.pre
	$(Q)iasl -we -p $(@D)/dsdt $(@D)/dsdt.asl.pre >$(@D)/iasl.log 2>&1 || { cat $(@D)/iasl.log; exit 1; }
	$(Q){ echo 'static const unsigned char dsdt_aml[] = {'; \
	  od -An -v -tx1 $(@D)/dsdt.aml | sed 's/ \(..\)/0x\1,/g'; echo '};'; } >$@

# An include that goes up, or in a circle.
$(B)/.rooms: hack/rooms $(wildcard $(addsuffix /*.[ch],$(ROOMS)))
	@mkdir -p $(@D)
	$(call say,ROOMS)
	$(Q)hack/rooms
	@touch $@

# A name that two objects define: the archive hides it from the linker.
$(B)/.globals: hack/duplicate-globals $(CORE_OBJS) $(B)/obj/runtime/shim/main.o $(B)/obj/runtime/launch/cli/main.o
	$(call say,GLOBALS)
	$(Q)hack/duplicate-globals $(filter %.o,$^)
	@touch $@

$(B)/libaxvm-core.a: $(CORE_OBJS)
	$(call say,AR)
	@rm -f $@
	$(Q)ar rcs $@ $^

$(B)/axvm-shim: $(B)/obj/runtime/shim/main.o $(B)/libaxvm-core.a $(STEADY)
	$(call say,LD)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) $(SHIM_LDFLAGS) -static-pie -o $@ \
		$(filter-out $(STEADY),$^) $(LIBS)

# ---- launch and cli ---------------------------------------------------------------------------
# libaxvm takes and gives encoded messages: it has neither the schema in it nor protobuf-c, and no
# generated header is found when it is compiled. Its objects are built once, as the shared library
# needs them; what the version script does not name stays inside.
LAUNCH_SRCS := $(wildcard runtime/launch/*.c) runtime/interface/wire_cursor.c
LAUNCH_OBJS := $(LAUNCH_SRCS:%.c=$(B)/obj/%.o)
$(LAUNCH_OBJS): PIC = -fPIC -fno-semantic-interposition
$(LAUNCH_OBJS): INC = -I. -Iruntime
AXVM_VERSION := $(shell sed -n 's/.*AXVM_VERSION "\(.*\)"/\1/p' runtime/interface/version.h)
# The library's own: another once what was linked to it has to be built anew, whatever the release.
AXVM_SONAME := libaxvm.so.0

# In the archive too only what the version script names is visible to others.
$(B)/libaxvm.a: $(LAUNCH_OBJS) runtime/launch/libaxvm.map
	$(call say,AR)
	@rm -f $@
	$(Q)ld -r -o $(B)/obj/libaxvm.o $(LAUNCH_OBJS)
	$(Q)objcopy --wildcard --keep-global-symbol='axvm_*' $(B)/obj/libaxvm.o
	$(Q)ar rcs $@ $(B)/obj/libaxvm.o

$(B)/$(AXVM_SONAME): $(LAUNCH_OBJS) runtime/launch/libaxvm.map
	$(call say,LD)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -shared -o $@ $(LAUNCH_OBJS) \
		-Wl,-soname,$(AXVM_SONAME) -Wl,--version-script,runtime/launch/libaxvm.map \
		-Wl,-z,defs
	$(Q)ln -sf $(AXVM_SONAME) $(B)/libaxvm.so

$(B)/axvm: $(B)/obj/runtime/launch/cli/main.o $(B)/libaxvm-core.a
	$(call say,LD)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -pie -o $@ $^ $(LIBS)

system: $(B)/tests/fifty
# As an orchestrator would: the header, the library, and protobuf-c's code of the schema.
$(B)/tests/fifty: $(B)/obj/tests/system/fifty.o $(B)/obj/gen/proto/axvm.pb-c.o $(B)/libaxvm.a
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -pie -o $@ $^ $(shell pkg-config --libs libprotobuf-c)

# ---- examples: orchestrators in four languages, each as its author would build it ----------------
EXAMPLES := $(addprefix $(B)/examples/,c/five cpp/five go/five python/axvm_pb2.py)
EXAMPLE_SRC := runtime/launch/examples
# What is installed, where it will be.
EXAMPLE_INC := $(B)/examples/include
.PHONY: examples
examples: $(EXAMPLES)

$(EXAMPLE_INC)/axvm/axvm.h: runtime/launch/axvm.h
	@mkdir -p $(@D)
	$(Q)cp $< $@
$(B)/examples/c/five: $(EXAMPLE_SRC)/five.c $(EXAMPLE_INC)/axvm/axvm.h $(B)/obj/gen/proto/axvm.pb-c.o $(B)/libaxvm.a
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) -std=gnu17 -g $(WARN) -I$(EXAMPLE_INC) -I$(B)/gen -o $@ $< $(B)/obj/gen/proto/axvm.pb-c.o $(B)/libaxvm.a \
		$(shell pkg-config --libs libprotobuf-c)

# Not optimized, since what protoc generates is 65,000 lines.
$(B)/examples/cpp/axvm.pb.cc: proto/axvm.proto | $(B)/.packages-examples
	@mkdir -p $(@D)
	$(call say,PROTO)
	$(Q)protoc --proto_path=proto --cpp_out=lite:$(@D) $<
$(B)/examples/cpp/axvm.pb.o: $(B)/examples/cpp/axvm.pb.cc
	$(call say,C++)
	$(Q)$(CXX) -std=c++17 -O0 -w -c -o $@ $<
$(B)/examples/cpp/five: $(EXAMPLE_SRC)/five.cc $(B)/examples/cpp/axvm.pb.o
	$(call say,LD)
	$(Q)$(CXX) -std=c++17 -O0 -Wall -Wextra -Wshadow -Werror -I$(@D) -o $@ $^ -lprotobuf-lite -pthread

$(B)/examples/python/axvm_pb2.py: proto/axvm.proto | $(B)/.packages-examples
	@mkdir -p $(@D)
	$(call say,PROTO)
	$(Q)protoc --proto_path=proto --python_out=$(@D) $<

# Debian's compiler and libraries, which are no modules. What go keeps for itself stays in $(B),
# too.
GO_ROOT := $(abspath $(B))/examples/go
GO := HOME=$(GO_ROOT) XDG_CONFIG_HOME=$(GO_ROOT) GOENV=off GOFLAGS= GOTOOLCHAIN=local GO111MODULE=off \
      GOCACHE=$(GO_ROOT)/cache GOPATH=$(GO_ROOT):/usr/share/gocode CGO_ENABLED=0 /usr/bin/go
$(B)/examples/go/src/axvm/v1/axvm.pb.go: proto/axvm.proto | $(B)/.packages-examples
	@mkdir -p $(B)/examples/go/src
	$(call say,PROTO)
	$(Q)protoc --proto_path=proto --go_out=$(B)/examples/go/src $<
$(B)/examples/go/five: $(EXAMPLE_SRC)/five.go $(B)/examples/go/src/axvm/v1/axvm.pb.go
	$(call say,GO)
	$(Q)$(GO) build -o $@ $<

# ---- bare-metal guests: flat 64-bit images, one behaviour each ---------------------------------
GUEST_BINS := $(patsubst tests/guests/%.S,$(B)/guests/%.bin,$(wildcard tests/guests/*.S))
# Programs for stock Linux guests: static, because such a guest has no libraries.
LINUX_GUESTS := $(patsubst tests/guests/linux/%.c,$(B)/guests/linux/%,\
                $(wildcard tests/guests/linux/*.c))
.PHONY: guests
guests: $(GUEST_BINS) $(LINUX_GUESTS)

$(B)/guests/linux/%: tests/guests/linux/%.c $(wildcard tests/guests/linux/*.h) | $(GEN_FIRST)
	@mkdir -p $(@D)
	$(call say,GUEST)
	$(Q)$(CC) -std=gnu17 -O2 $(WARN) $(DEFS) -static -o $@ $<

# The first byte of an image is its entry: tests/guests/flat.ld puts .text.start there.
$(B)/guests/%.bin: tests/guests/%.S tests/guests/flat.ld | $(GEN_FIRST)
	@mkdir -p $(@D)
	$(call say,GUEST)
	$(Q)$(CC) -nostdlib -static -Wl,--build-id=none -Wl,--no-warn-rwx-segments \
		-Wl,-T,tests/guests/flat.ld \
		-o $(@:.bin=.elf) $<
	$(Q)objcopy -O binary $(@:.bin=.elf) $@

# ---- tests ------------------------------------------------------------------------------------
UNIT_OBJS := $(patsubst %.c,$(B)/obj/%.o,$(wildcard tests/unit/*/*.c))
$(UNIT_OBJS): INC += -Itests/unit
# Code that runs once, and much of it: without the optimizer, and so without fortify, it is built in
# a third of the time.
$(UNIT_OBJS): O = -O0
$(UNIT_OBJS): FORTIFY = -U_FORTIFY_SOURCE
# It races with queue.c.
$(B)/obj/tests/unit/virtio/queue_fences.o: O = -O2
$(B)/tests/unit: $(UNIT_OBJS) $(B)/libaxvm-core.a
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -pie -o $@ $^ $(LIBS) -lnuma -lcriterion

# The tests' objects need Criterion's headers.
$(UNIT_OBJS): | $(B)/.packages-test

.PHONY: unit lab demo check
# No claims where a test has not said so: what others run on this machine decides nothing there (as
# in tests/unit/run).
unit: export AXVM_CLAIMS_DIR :=
unit: $(B)/tests/unit
	$(B)/tests/unit

# Everything that needs a processor that virtualizes and two NUMA nodes, in one boot of the lab.
lab: all $(B)/.packages-lab
	tests/system/lab

# A shell in the test host, for a person whose machine has no KVM.
.PHONY: lab-shell
lab-shell: all $(B)/.packages-lab
	@hack/lab

# The xv2 profile on emulated Ivy Bridge machines with VT-x and EPT; two boots of them.
.PHONY: lab-ivy
lab-ivy: all $(B)/.packages-bochs
	tests/system/lab-ivy

# Devices under stock Linux, a boot of the lab each; some minutes each.
.PHONY: lab-devices
lab-devices: all $(B)/.packages-lab
	tests/system/lab_block.sh
	tests/system/lab_net.sh
	tests/system/lab net block_crash
	AXVM_LAB_OPTIONS='--mem 6144' tests/system/lab numa_giant_pages
	AXVM_LAB_OPTIONS='--threads 2' tests/system/lab smt_dedicated smt_cookie smt_guest
	tests/system/lab_balloon.sh

# Every kernel flavour and whatever else in the Debian archive claims to start the same way; one
# long boot of the lab.
.PHONY: lab-foreign
lab-foreign: all $(B)/.packages-lab
	tests/system/lab_foreign.sh

# Long versions of what `check` does briefly.
.PHONY: nightly
nightly: all $(B)/tests/fifty
	python3 tests/system/streams.py stall $(B)/axvm-shim proto/axvm.proto $(B)/guests/spin.bin 60
	$(B)/tests/fifty $(B)/axvm-shim $(B)/guests/longmode.bin $(B)/guests/spin.bin 200

demo:
	@hack/demo

check:
	tests/check

# What tests/check runs, beside `all`.
.PHONY: check-programs test-programs by-clang
check-programs: test-programs fuzzers examples
test-programs: $(B)/tests/unit $(B)/tests/policy_exhaustive $(B)/tests/spawn $(B)/tests/failing $(B)/tests/deny $(B)/tests/fifty \
	$(B)/axvm-shim-counting $(B)/axvm-shim-misbehave

# What a user builds who has clang, and the tests; the fuzzers are clang's in any case. The suite
# `clang` of tests/check runs the unit tests of it.
by-clang: | $(B)/.packages-source
	+$(Q)$(MAKE) --no-print-directory CC=clang B=$(B)/clang all test-programs

# The other Debian has a build folder of its own, and installs for itself. Bounded: a guest that
# hangs there would hold a release up.
OTHER_DEBIAN_SECONDS ?= 1200
.PHONY: other-debian
other-debian:
	hack/debian --timeout $(OTHER_DEBIAN_SECONDS) -- tests/other-debian

# ---- policies ---------------------------------------------------------------------------------
# policyc runs on the build host and is the only user of libseccomp. Its warnings are ours, its
# sanitizers are not: it is not what is tested.
POLICIES := $(wildcard profiles/seccomp/*.policy)
POLICYC_SRCS := $(wildcard hack/policyc/*.c) runtime/base/sha256.c sandbox/role.c sandbox/policy/symbols.c
POLICYC_HDRS := $(addprefix sandbox/,policy.h policy/symbols.h fd_layout.h) runtime/interface/spec_values.h hack/policyc/policyc.h
$(B)/hack/policyc: $(POLICYC_SRCS) $(POLICYC_HDRS) | $(GEN_FIRST)
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) -std=gnu17 -g -O1 $(WARN) -D_GNU_SOURCE $(INC) -o $@ $(POLICYC_SRCS) -lseccomp

$(B)/gen/sandbox/policies.c: $(B)/hack/policyc $(POLICIES)
	@mkdir -p $(@D)
	$(call say,POLICY)
	$(Q)$(B)/hack/policyc -o $(@D) profiles/seccomp
$(B)/gen/sandbox/policy_rules.c $(B)/gen/sandbox/syscall_names.c: $(B)/gen/sandbox/policies.c ;

$(B)/tests/policy_exhaustive: $(B)/obj/tests/system/policy_exhaustive.o $(B)/libaxvm-core.a
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -pie -o $@ $^

# The unit tests of the policies look for policyc beside themselves, those of `axvm plan` for the
# shim.
$(B)/tests/unit: | $(B)/hack/policyc $(B)/axvm-shim

.PHONY: policy-test audit
policy-test: $(B)/tests/policy_exhaustive
	@mkdir -p $(B)/audit
	$(B)/tests/policy_exhaustive $(B)/audit/exercised.txt

audit: policy-test
	hack/audit-policies -p $(B)/hack/policyc -e $(B)/audit/exercised.txt \
	        profiles/seccomp runtime sandbox

# ---- schema: what breaks who reads or writes the interface ---------------------------------------
.PHONY: schema
schema: $(B)/.packages-test
	tests/schema/run

# ---- sandbox: the shim from outside, and a shim that misbehaves from inside ---------------------
MISBEHAVE_WRAPS := $(addprefix -Wl$(comma)--wrap=,vcpu_loop devices_serve stage_staff stage_run)
$(B)/axvm-shim-misbehave: $(B)/obj/runtime/shim/main.o $(B)/obj/tests/system/misbehave.o $(B)/libaxvm-core.a $(STEADY)
	$(call say,LD)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) $(SHIM_LDFLAGS) $(MISBEHAVE_WRAPS) -static-pie -o $@ \
		$(filter-out $(STEADY),$^) $(LIBS)

.PHONY: sandbox-test
sandbox-test: $(B)/axvm-shim $(B)/axvm-shim-misbehave guests
	tests/system/sandbox_outside.sh $(B)
	tests/system/sandbox_misdeeds.sh $(B)

# ---- system tests -----------------------------------------------------------------------------
# Guests in C: the same images as those in assembly, with tests/guests/lib linked in. CPL 0 may be
# run by an emulator that knows general-purpose instructions only. Few want all that guest_main is
# given. There is no memset to call: gcc is told not to make one of a loop, clang makes none for
# code that is freestanding.
GUEST_CFLAGS = -std=gnu17 -Os $(WARN) -Wno-unused-parameter -ffreestanding -fno-pic -mno-red-zone \
               -mgeneral-regs-only -mcmodel=small -fno-stack-protector -fcf-protection=none \
               -fno-asynchronous-unwind-tables $(if $(findstring clang,$(CC)),,-fno-tree-loop-distribute-patterns) \
               -ffunction-sections -fdata-sections -Itests/guests -Itests/bench -Iruntime -MMD -MP
GUEST_LIB := $(patsubst tests/%,$(B)/obj/tests/%.o,$(basename $(wildcard tests/guests/lib/*.[cS])))
# $(call link_guest,SCRIPT): a guest's own object first.
link_guest = $(CC) -nostdlib -static -Wl,--build-id=none -Wl,--no-warn-rwx-segments -Wl,--gc-sections -Wl,-T,$(1)
$(B)/obj/tests/guests/%.o: tests/guests/%.c | $(GEN_FIRST)
	$(call compile,CC,$(GUEST_CFLAGS))
$(B)/obj/tests/guests/%.o: tests/guests/%.S | $(GEN_FIRST)
	$(call compile,CC,$(GUEST_CFLAGS))
$(B)/obj/tests/bench/guests/%.o: tests/bench/guests/%.c | $(GEN_FIRST)
	$(call compile,CC,$(GUEST_CFLAGS))
$(B)/obj/tests/bench/guests/%.o: tests/bench/guests/%.S | $(GEN_FIRST)
	$(call compile,CC,$(GUEST_CFLAGS))
C_GUEST_BINS := $(patsubst tests/guests/%.c,$(B)/guests/%.bin,$(wildcard tests/guests/*.c))
# ELF kernels: the same source with ld's own layout, and with a linker script.
ELF_GUESTS := $(B)/guests/elf/plain $(B)/guests/elf/one_segment
$(B)/guests/elf/plain: ELF_LAYOUT := -Wl,-Ttext-segment=0x1000000 -Wl,-e,start
$(B)/guests/elf/one_segment: ELF_LAYOUT := -Wl,-T,tests/guests/elf/one_segment.ld -Wl,--no-warn-rwx-segments
$(ELF_GUESTS): tests/guests/elf/notes.c tests/guests/elf/one_segment.ld runtime/guest/layout.h | $(GEN_FIRST)
	@mkdir -p $(@D)
	$(call say,GUEST)
	$(Q)$(CC) -O2 $(WARN) -Iruntime -ffreestanding -nostdlib -static -fno-pie -fcf-protection -Wl,--build-id=sha1 $(ELF_LAYOUT) -o $@ $<

guests: $(C_GUEST_BINS) $(ELF_GUESTS)
$(C_GUEST_BINS): $(B)/guests/%.bin: $(B)/obj/tests/guests/%.o $(GUEST_LIB) tests/guests/flat.ld
	@mkdir -p $(@D)
	$(call say,GUEST)
	$(Q)$(call link_guest,tests/guests/flat.ld) -o $(@:.bin=.elf) $(GUEST_LIB) $<
	$(Q)objcopy -O binary $(@:.bin=.elf) $@

$(B)/tests/spawn $(B)/tests/failing: $(B)/tests/%: $(B)/obj/tests/system/%.o \
		$(B)/obj/tests/system/judge.o $(B)/obj/tests/system/failing_calls.o $(B)/libaxvm-core.a
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -pie -o $@ $^ $(LIBS)

$(B)/tests/deny: $(B)/obj/tests/system/deny.o
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -static-pie -o $@ $^

# The shim that ends when it allocates after the seal.
COUNTING_WRAPS := $(addprefix -Wl$(comma)--wrap=,malloc calloc realloc aligned_alloc posix_memalign \
                              vcpu_loop devices_serve stage_run)
$(B)/axvm-shim-counting: $(B)/obj/runtime/shim/main.o $(B)/obj/tests/system/counting.o $(B)/libaxvm-core.a $(STEADY)
	$(call say,LD)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) $(SHIM_LDFLAGS) $(COUNTING_WRAPS) -static-pie -o $@ \
		$(filter-out $(STEADY),$^) $(LIBS)

.PHONY: system failing-host hostile
system: all $(B)/tests/spawn $(B)/tests/failing $(B)/tests/deny $(B)/axvm-shim-counting examples
	B=$(B) tests/system/run

# Every call of a launch, of several kinds, with every error that it can fail with; some minutes.
failing-host: all $(B)/tests/spawn $(B)/tests/failing
	B=$(B) tests/system/failing_host.sh
# A million operations of the hostile guest, from a seed that is printed; some minutes.
HOSTILE_SEED ?= $(shell date +%s)
HOSTILE_OPERATIONS ?= 1000000
hostile: all $(B)/tests/spawn
	@echo 'HOSTILE_SEED=$(HOSTILE_SEED) HOSTILE_OPERATIONS=$(HOSTILE_OPERATIONS)'
	B=$(B) HOSTILE_SEED=$(HOSTILE_SEED) HOSTILE_OPERATIONS=$(HOSTILE_OPERATIONS) \
		HOSTILE_REPORT=$(B)/hostile.txt tests/system/run hostile_guest
	@cat $(B)/hostile.txt
# ---- end of system tests ------------------------------------------------------------------------

# ---- sanitizers ----------------------------------------------------------------------------------
# The unit tests, built by a make of its own folder with SAN set and run without Criterion.
SANITIZED_OBJS := $(patsubst %.c,$(B)/obj/bare/%.o,$(wildcard tests/unit/*/*.c tests/stand-in/*.c))
$(B)/obj/bare/%.o: %.c | $(GEN_HDRS) $(B)/.packages-test
	$(call compile,CC,-Itests/stand-in $(CFLAGS_ALL) -Itests/unit -Wno-sign-compare)
$(B)/tests/unit-bare: $(SANITIZED_OBJS) $(B)/libaxvm-core.a | $(B)/hack/policyc
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -pie -o $@ $^ $(LIBS) -lnuma

.PHONY: sanitize
sanitize: $(B)/.packages-sanitize
	tests/sanitize

# MUTANTS='-r runtime/host' or '3 4': what tests/mutants takes.
.PHONY: mutants
mutants: $(B)/.packages-build $(B)/.packages-test
	tests/mutants $(MUTANTS)

# ---- fuzzing ------------------------------------------------------------------------------------
# libFuzzer with ASan and UBSan. The rooms are built once more, by clang, beside all else; gcc is
# the judge of warnings. The fakes and rigs of the unit tests serve here too: tests/stand-in has a
# criterion.h for those who are not Criterion's.
FUZZ_SECONDS ?= 60
FUZZ_CFLAGS = -std=gnu17 -g -O1 -w $(DEFS) -Itests/stand-in -Itests/unit $(INC) -MMD -MP \
              -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
FUZZ_RIGS := $(addprefix tests/unit/rig/,host_fixture.c ring.c fake_fabric.c virtio_driver.c block_guest.c net_rig.c \
             vsock_guest.c acpi_parser.c wait.c)
# The rooms that a fuzzer is linked with. One that needs another does not link.
FUZZ_ROOMS := $(filter-out runtime/machine runtime/shim% runtime/launch/cli sandbox%,$(ROOMS))
FUZZ_SRCS := $(wildcard $(addsuffix /*.c,$(FUZZ_ROOMS))) runtime/machine/topology.c runtime/launch/cli/messages.c
FUZZ_OBJS := $(FUZZ_SRCS:%.c=$(B)/fuzz/obj/%.o) \
             $(addprefix $(B)/fuzz/obj/gen/proto/,axvm.pb-c.o profile.pb-c.o) $(B)/fuzz/obj/gen/profiles/cpu.o \
             $(FUZZ_RIGS:%.c=$(B)/fuzz/obj/%.o) \
             $(patsubst %.c,$(B)/fuzz/obj/%.o,$(wildcard tests/fuzz/lib/*.c) tests/stand-in/failed.c)
FUZZERS := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(wildcard tests/fuzz/*.c))

$(B)/fuzz/obj/%.o: %.c | $(GEN_HDRS) $(B)/.packages-fuzz
	@mkdir -p $(@D)
	$(call say,FUZZ-CC)
	$(Q)$(if $(findstring ccache,$(CC)),ccache) clang $(FUZZ_CFLAGS) -fsanitize=fuzzer-no-link -c -o $@ $<
$(B)/fuzz/obj/gen/%.o: $(B)/gen/%.c | $(GEN_HDRS) $(B)/.packages-fuzz
	@mkdir -p $(@D)
	$(call say,FUZZ-CC)
	$(Q)$(if $(findstring ccache,$(CC)),ccache) clang $(FUZZ_CFLAGS) -fsanitize=fuzzer-no-link -c -o $@ $<
$(B)/fuzz/libcore.a: $(FUZZ_OBJS)
	$(call say,AR)
	@rm -f $@
	$(Q)ar rcs $@ $^
$(B)/fuzz/%: $(B)/fuzz/obj/tests/fuzz/%.o $(B)/fuzz/libcore.a
	$(call say,LD)
	$(Q)clang $(FUZZ_CFLAGS) -fsanitize=fuzzer -o $@ $^ $(shell pkg-config --libs $(PKGS))

.PHONY: fuzz fuzzers
fuzzers: $(FUZZERS)
fuzz: $(FUZZERS)
	B=$(B) FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz/run

# ---- assurance that takes longer -----------------------------------------------------------------
KILLS ?= 200
SOAK_LAUNCHES ?= 10000
SOAK_SECONDS ?= 3600
.PHONY: prove crash-safety soak
prove: $(B)/.packages-prove
	B=$(B) tests/prove/spin
	B=$(B) tests/prove/wp
crash-safety: all
	tests/system/crash_safety.py $(B) $(KILLS)
soak: all
	tests/system/soak.py $(B) $(SOAK_LAUNCHES) $(SOAK_SECONDS)

# ---- the source itself ---------------------------------------------------------------------------
# What .clang-format says; hack/format without --write only looks.
.PHONY: format
format: $(B)/.packages-source
	hack/format --write

# What an editor and clang's tools read: a command a file, in clang's words.
.PHONY: compile_commands.json
compile_commands.json: $(B)/compile_commands.json
$(B)/compile_commands.json: FORCE | $(GEN_HDRS)
	$(Q)set -o pipefail; $(MAKE) -nB --no-print-directory CC=clang V= all check-programs $(BENCH_ALL) | \
		hack/compile-commands >$@

# What .clang-tidy asks for, of every C file.
.PHONY: tidy
tidy: $(B)/compile_commands.json $(EXAMPLE_INC)/axvm/axvm.h $(GEN_SRCS) | $(B)/.packages-source
	hack/tidy $(B)

# ---- install ------------------------------------------------------------------------------------
# make install [PREFIX=/usr/local] [DESTDIR=] [LIBDIR=$(PREFIX)/lib]; make uninstall takes it back.
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
UNITDIR ?= $(PREFIX)/lib/systemd/system
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
MAN_SRCS := $(wildcard runtime/launch/man/*.scd)
MAN_PAGES := $(patsubst runtime/launch/man/%.scd,$(B)/man/%,$(MAN_SRCS))
DEB := $(B)/axvm_$(AXVM_VERSION)_amd64.deb

# The version stands at the foot of each page.
$(B)/man/%: runtime/launch/man/%.scd runtime/interface/version.h | $(B)/.packages-install
	@mkdir -p $(@D)
	$(call say,MAN)
	$(Q)sed '1s/$$/ "AxVM $(AXVM_VERSION)"/' $< | scdoc >$@

$(B)/completion/%: $(B)/axvm
	@mkdir -p $(@D)
	$(Q)$(B)/axvm completion $* >$@

# FROM is what is built, TO where it goes, one line each: install and uninstall cannot differ.
INSTALLED = \
	755:$(B)/axvm:$(PREFIX)/bin/axvm \
	755:$(B)/axvm-shim:$(PREFIX)/sbin/axvm-shim \
	644:$(B)/libaxvm.a:$(LIBDIR)/libaxvm.a \
	644:$(B)/$(AXVM_SONAME):$(LIBDIR)/$(AXVM_SONAME) \
	644:$(B)/libaxvm.pc:$(LIBDIR)/pkgconfig/libaxvm.pc \
	644:runtime/launch/axvm.h:$(PREFIX)/include/axvm/axvm.h \
	644:proto/axvm.proto:$(PREFIX)/share/axvm/proto/axvm.proto \
	644:$(B)/axvm@.service:$(UNITDIR)/axvm@.service \
	644:runtime/launch/axvm.conf:$(TMPFILESDIR)/axvm.conf \
	644:$(B)/completion/bash:$(PREFIX)/share/bash-completion/completions/axvm \
	644:$(B)/completion/zsh:$(PREFIX)/share/zsh/vendor-completions/_axvm \
	$(foreach m,$(MAN_PAGES),644:$(m):$(PREFIX)/share/man/man$(patsubst .%,%,$(suffix $(m)))/$(notdir $(m)))

.PHONY: install uninstall deb
install: all $(MAN_PAGES) $(B)/completion/bash $(B)/completion/zsh
	$(Q)sed 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; s|@VERSION@|$(AXVM_VERSION)|' \
		runtime/launch/libaxvm.pc.in >$(B)/libaxvm.pc
	$(Q)sed 's|@PREFIX@|$(PREFIX)|' runtime/launch/axvm@.service.in >$(B)/axvm@.service
	$(Q)for row in $(INSTALLED); do IFS=: read -r mode from to <<<"$$row"; \
		install -D -m $$mode "$$from" "$(DESTDIR)$$to" || exit 1; done
	$(Q)ln -sf $(AXVM_SONAME) $(DESTDIR)$(LIBDIR)/libaxvm.so
	$(Q)install -d $(DESTDIR)/etc/axvm

uninstall:
	$(Q)for row in $(INSTALLED); do IFS=: read -r mode from to <<<"$$row"; \
		rm -f "$(DESTDIR)$$to"; done
	$(Q)rm -f $(DESTDIR)$(LIBDIR)/libaxvm.so
	$(Q)for folder in include/axvm share/axvm/proto share/axvm; do \
		rmdir "$(DESTDIR)$(PREFIX)/$$folder" 2>/dev/null || true; done
	$(Q)rmdir "$(DESTDIR)/etc/axvm" 2>/dev/null || true

deb: all
	@rm -rf $(B)/deb
	$(Q)$(MAKE) --no-print-directory install DESTDIR=$(B)/deb PREFIX=/usr \
		LIBDIR=/usr/lib/$$($(CC) -print-multiarch) UNITDIR=/lib/systemd/system
	$(Q)hack/make-deb $(B)/deb $(AXVM_VERSION) $(DEB)
	@echo $(DEB)

# ---- release ----------------------------------------------------------------------------------
# VERSION comes by the environment, which needs no quotes.
.PHONY: release
release: $(B)/.packages-test
	$(Q)hack/release "$${VERSION-}"

# ---- bench ------------------------------------------------------------------------------------
# Baselines link nothing of ours; what measures is an orchestrator and links libaxvm.
BARE_PROGRAMS := $(addprefix $(B)/bench/,bare_launch bare_doorbell)
BENCH_PROGRAMS := $(addprefix $(B)/bench/,race crowd)
# What a filter costs, and populating memory, without the shim around it.
$(B)/bench/filters $(B)/bench/populate: $(B)/bench/%: $(B)/obj/tests/bench/%.o $(B)/libaxvm-core.a
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -pie -o $@ $^
# No library of ours either.
$(B)/bench/tally: tests/bench/tally.c | $(GEN_FIRST)
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) -std=gnu17 -O2 $(WARN) -D_GNU_SOURCE -Iruntime -static-pie -o $@ $<
BENCH_GUESTS := $(addprefix $(B)/bench/guests/,exits.bin exits_long.bin idle.bin \
                doorbell.bin block.bin block_deep.bin block_long.bin pvh)

$(BARE_PROGRAMS): $(B)/bench/%: tests/bench/%.c tests/bench/bare.c tests/bench/bare.h \
                  tests/bench/guests/doorbell.h | $(GEN_FIRST)
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) -std=gnu17 -O2 $(WARN) -D_GNU_SOURCE -Iruntime -static-pie -o $@ $(filter %.c,$^)

$(B)/bench/bare_block: tests/bench/bare_block.c tests/bench/guests/block.h | $(GEN_FIRST)
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) -std=gnu17 -O2 $(WARN) -D_GNU_SOURCE -static-pie -o $@ $< -luring

$(BENCH_PROGRAMS): $(B)/bench/%: $(B)/obj/tests/bench/%.o $(B)/obj/gen/proto/axvm.pb-c.o $(B)/libaxvm.a
	@mkdir -p $(@D)
	$(call say,LD)
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -pie -o $@ $^ $(shell pkg-config --libs libprotobuf-c)

$(B)/bench/guests/%.bin: tests/bench/guests/%.S tests/guests/flat.ld | $(GEN_FIRST)
	@mkdir -p $(@D)
	$(call say,GUEST)
	$(Q)$(CC) -nostdlib -static -Wl,--build-id=none -Wl,--no-warn-rwx-segments \
		-Wl,-T,tests/guests/flat.ld -o $(@:.bin=.elf) $<
	$(Q)objcopy -O binary $(@:.bin=.elf) $@
$(filter-out %/idle.bin,$(filter %.bin,$(BENCH_GUESTS))): $(B)/bench/guests/%.bin: $(B)/obj/tests/bench/guests/%.o \
                $(GUEST_LIB) tests/guests/flat.ld
	@mkdir -p $(@D)
	$(call say,GUEST)
	$(Q)$(call link_guest,tests/guests/flat.ld) -o $(@:.bin=.elf) $(GUEST_LIB) $<
	$(Q)objcopy -O binary $(@:.bin=.elf) $@
# Guests that any monitor starts by PVH. `guests` makes them too: a system test has the shim run
# them.
PORTABLE_LIB := $(addprefix $(B)/obj/tests/bench/guests/portable/,start.o portable.o) $(filter-out %/start.o,$(GUEST_LIB))
PORTABLE_GUESTS := $(addprefix $(B)/bench/guests/portable/,compute jitter mix)
guests: $(PORTABLE_GUESTS)
$(PORTABLE_GUESTS): $(B)/bench/guests/portable/%: $(B)/obj/tests/bench/guests/portable/%.o $(PORTABLE_LIB) \
                tests/bench/guests/portable/layout.ld
	@mkdir -p $(@D)
	$(call say,GUEST)
	$(Q)$(call link_guest,tests/bench/guests/portable/layout.ld) -o $@ $(PORTABLE_LIB) $<
$(B)/bench/guests/pvh: tests/bench/guests/pvh.S tests/bench/guests/pvh.ld | $(GEN_FIRST)
	@mkdir -p $(@D)
	$(call say,GUEST)
	$(Q)$(CC) -nostdlib -static -Wl,--build-id=none -Wl,-T,tests/bench/guests/pvh.ld -o $@ $<

# BENCH='-n 20 --json FILE' and so on: what tests/bench/run takes.
BENCH_ALL := $(BARE_PROGRAMS) $(B)/bench/bare_block $(BENCH_PROGRAMS) $(B)/bench/filters $(B)/bench/populate $(B)/bench/tally $(BENCH_GUESTS)
.PHONY: bench bench-lab bench-programs
# `make check` runs none of them, but they are to build.
bench-programs: $(BENCH_ALL)
test-programs: bench-programs
bench: all $(B)/.packages-bench $(BENCH_ALL)
	tests/bench/run $(if $(AXVM_BENCH_LAB),--lab) $(BENCH)
bench-lab: all $(B)/.packages-bench $(B)/.packages-lab $(BENCH_ALL)
	tests/bench/run --lab $(BENCH)

.PHONY: clean
clean:
	$(Q)for release in $(notdir $(wildcard $(B)/debian/*)); do hack/debian --release $$release --clean || exit; done
	rm -rf $(B)

-include $(shell find $(wildcard $(B)/obj $(B)/fuzz/obj) /dev/null -name "*.d")
# What was compiled with a warning, where warnings are errors.
WARNED := $(if $(WERROR),$(patsubst %.said,%,$(shell find $(wildcard $(B)/obj) /dev/null -name '*.said')))
.PHONY: FORCE
$(WARNED): FORCE
