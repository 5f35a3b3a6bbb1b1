# SPDX-License-Identifier: Apache-2.0
#
# make [all]        build/lodge, the program
# make unit         builds and runs the unit tests
# make insn         instructions in the interpreter, and in the translator, against this processor
#                   (INSN_CASES, INSN_SEED)
# make rules        the source rules (tools/check-*)
# make check        the source rules and the unit tests
# make lab          the tests that boot guests (pytest), in the emulated AMD-V machine
# make check-slow   every kernel in every way under the software engine, 64 vCPUs; takes long
# make check-userland  Debian's programs under the software engine, their results against the host's
#                   own; needs root, mmdebstrap and the network; takes minutes
# make check-io     Debian booted from a disk, fio with verification, killed monitors, under the
#                   software engine; needs root, mmdebstrap, fio and the network; takes minutes
# make check-vmx    a guest under kvm-intel, in Bochs; takes minutes
# make check-torture  a hostile driver at every virtio device, under sanitizers; takes minutes
# make check-api    10,000 requests made by docs/openapi.json, before and after a VM's start, under
#                   sanitizers; takes minutes
# make fuzz         the fuzz programs, build/fuzz/<name>; needs clang
# make fuzz-run     runs each for FUZZ_SECONDS on a copy of its corpus
# make bench        the figures of docs/, measured again: every program of bench/, or with BENCH=cpu
#                   bench/cpu.py alone (BENCH_FLAGS: see bench/*.py --help)
# make bench-programs  what those measure with, build/bench/<name>
# make lib man      the libraries; the manual pages
# make format       formats the sources in place
# make install      to $(DESTDIR)$(PREFIX); make uninstall takes it away
# make clean
#
# Variables: BUILD=dir  CC=gcc|clang  WERROR=1  V=1  SANITIZE=address,undefined
#            CFLAGS CPPFLAGS LDFLAGS  STATIC_LIBS=0  PREFIX DESTDIR LIBDIR
#            TESTS=pattern (unit: only the programs whose name has it)
#
# Everything is built into $(BUILD); a source file is found by where it lies, a changed flag or
# a file that went away builds again what it concerns.

BUILD   ?= build
PREFIX  ?= /usr/local
BINDIR  ?= $(PREFIX)/bin
LIBDIR  ?= $(PREFIX)/lib
INCDIR  ?= $(PREFIX)/include
MANDIR  ?= $(PREFIX)/share/man
SHAREDIR ?= $(PREFIX)/share
DESTDIR ?=
WERROR  ?= 0
VERSION := $(shell cat VERSION)
SOMAJOR := 0

FUZZ_CC      ?= clang
FUZZ_SECONDS ?= 60
PYTEST       ?= /usr/bin/python3 -m pytest
TESTS        ?=
INSN_CASES   ?= 2000000
INSN_SEED    ?= 1

ifeq ($(V),1)
Q    :=
else
Q    := @
endif
say  = $(if $(findstring s,$(firstword -$(MAKEFLAGS))),,@printf '  %-7s %s\n' $(1) $(2))

# --- flags -----------------------------------------------------------------------------------

CFLAGS  ?= -O2 -g
WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
           -Wvla -Wundef -Wwrite-strings
ifeq ($(WERROR),1)
WARN    += -Werror
endif

# A guest's mistake in lodge's own code should end in an abort, not in a way out. FORTIFY wants
# an optimizing compile, level 3 a libc and compiler that know it.
FORTIFY := $(if $(filter -O1 -O2 -O3 -Os -Oz,$(CFLAGS)),$(shell \
           printf '\043include <features.h>\n' | $(CC) -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 \
           -Werror -E - >/dev/null 2>&1 && echo 3 || echo 2))
ifneq ($(SANITIZE),)
HARDEN  := -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer
LDHARDEN := -fsanitize=$(SANITIZE)
else
HARDEN  := -fstack-protector-strong -fstack-clash-protection -fcf-protection=full \
           $(if $(FORTIFY),-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=$(FORTIFY))
LDHARDEN := -Wl,--gc-sections
# Nothing unwinds C at run time; debuggers have their own tables (-g).
HARDEN  += -fno-asynchronous-unwind-tables
endif

# Position-independent for the program and the shared library alike, so that a file is compiled
# once; hidden, so that neither pays for symbols that could be replaced. As in the kernel, what
# lies in guest RAM is read by more than one type, hence no strict aliasing.
CODEGEN := -fPIC -fvisibility=hidden -fno-strict-aliasing -fno-common \
           -ffunction-sections -fdata-sections -pthread

# Pointers to relocate as a bitmap, a fiftieth of the size of their list, where the C library knows
# it. (A linker that does not, warns and goes on.)
RELR := $(shell printf '\043include <features.h>\n_Static_assert(__GLIBC_PREREQ(2, 36), "");\n' | \
        $(CC) -fsyntax-only -xc - 2>/dev/null && echo ,-z,pack-relative-relocs)

DEFINES := -D_GNU_SOURCE -DLODGE_VERSION=\"$(VERSION)\"
CPPFLAGS_ALL := -Isrc -Iinclude $(DEFINES) $(CPPFLAGS)
CFLAGS_ALL   := -std=gnu11 $(CFLAGS) $(WARN) $(CODEGEN)
LDFLAGS_ALL  := -pthread -Wl,-z,relro,-z,now,-z,noexecstack,--as-needed$(RELR) $(LDFLAGS)

# zlib and jansson are linked in: lodge starts quickly and is one file. The other decompressors are
# shared libraries, loaded when a kernel needs one (base/dynlib.h). With STATIC_LIBS=0 zlib and
# jansson are shared as well.
STATIC_LIBS ?= 1
SHARED_LIBS := -lz -ljansson
ifeq ($(STATIC_LIBS),1)
LIBS := -Wl,-Bstatic $(SHARED_LIBS) -Wl,-Bdynamic
else
LIBS := $(SHARED_LIBS)
endif

# Tests compress, and fuzz programs load nothing anew for each input: they are linked with all.
TEST_LIBS := $(LIBS) -Wl,--no-as-needed -lzstd -llzma -llz4 -lbz2 -Wl,--as-needed

# What every exit of a guest or every instruction under the software engine goes through is
# compiled for speed, all else for size: it runs rarely, and is in memory and on disk always.
SMALL := $(if $(filter -O2,$(CFLAGS)),-Os)
FAST  := $(wildcard src/core/*.c src/engine/kvm/*.c src/engine/bt/mmu/*.c) \
         $(wildcard src/engine/bt/translate/*.c) \
         $(patsubst %,src/engine/bt/%.c,decode/memo emit/emit runtime/blocks runtime/context \
           runtime/handle runtime/step) \
         $(patsubst %,src/devices/legacy/%.c,uart uart_rx) \
         $(patsubst %,src/machine/%.c,posted vcpu) src/virtio/net_checksum.c \
         $(patsubst %,src/virtio/%.c,blk blk_request queue queue_packed queue_split) \
         $(patsubst %,src/engine/bt/interp/%.c,arithmetic atomic bit branch code_cache control \
           deliver descriptor flags frame gate iret move muldiv operand run shift stack string \
           syscall target vector)

COMPILE := $(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(HARDEN)
LINK    := $(CC) $(CFLAGS_ALL) $(HARDEN) $(LDFLAGS_ALL) $(LDHARDEN) -pie

# --- what there is ---------------------------------------------------------------------------

find      = $(sort $(shell find $(1) -name '$(2)' 2>/dev/null))
SRC      := $(call find,src,*.c)
CLI_SRC  := $(filter src/cli/% src/api/%,$(SRC))
LIB_SRC  := $(filter-out $(CLI_SRC),$(SRC))
UNIT_SRC := $(call find,tests/unit,*_test.c)
HELP_SRC := $(filter-out $(UNIT_SRC),$(call find,tests/unit,*.c))
INSN_SRC := $(call find,tests/insn,*.c)
FUZZ_SRC := $(call find,tests/fuzz,*_fuzz.c)
MAN_SRC  := $(call find,docs,*.scd)

obj       = $(patsubst %.c,$(BUILD)/%.o,$(1))
CLI_OBJ  := $(call obj,$(filter-out src/cli/main.c,$(CLI_SRC)))
LIB_OBJ  := $(call obj,$(LIB_SRC))
HELP_OBJ := $(call obj,$(HELP_SRC))
UNIT     := $(UNIT_SRC:%.c=$(BUILD)/%)
FUZZ     := $(FUZZ_SRC:tests/fuzz/%_fuzz.c=$(BUILD)/fuzz/%)
MAN      := $(MAN_SRC:docs/%.scd=$(BUILD)/man/%)

ARCHIVE  := $(BUILD)/liblodge.a
SHARED   := $(BUILD)/liblodge.so.$(VERSION)
CLI_LIB  := $(BUILD)/libcli.a
HELP_LIB := $(BUILD)/libunit.a
PC       := $(BUILD)/lodge.pc

.PHONY: all lib man unit insn rules check lab check-slow check-userland check-io check-vmx \
        check-torture check-api fuzz fuzz-run bench bench-programs format install uninstall clean
.SECONDARY:
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

all: $(BUILD)/lodge
lib: $(ARCHIVE) $(SHARED)
man: $(MAN)

# Two files say what the last build was made of: of these flags, of these sources.
ifeq ($(filter clean uninstall format,$(MAKECMDGOALS)),)
remember = $(if $(call differ,$(strip $(2)),$(strip $(file <$(1)))),$(shell \
           mkdir -p $(dir $(1)))$(file >$(1),$(2)))
differ   = $(if $(subst x$(1),,x$(2))$(subst x$(2),,x$(1)),different)
$(call remember,$(BUILD)/.flags,$(COMPILE) $(SMALL) / $(FAST) / $(LINK) $(LIBS) / $(FUZZ_CC))
$(call remember,$(BUILD)/.places,$(PREFIX) $(LIBDIR) $(INCDIR))
$(call remember,$(BUILD)/.sources,$(SRC) $(HELP_SRC) $(INSN_SRC))
endif

# --- compile and link ------------------------------------------------------------------------

# The headers of other packages, looked for once, so that one missing is one clear line.
$(BUILD)/.headers: tools/packages tools/check-packages $(BUILD)/.flags
	$(Q)CC='$(CC)' tools/check-packages tools/packages build
	@touch $@

$(BUILD)/%.o: %.c $(BUILD)/.flags | $(BUILD)/.headers
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(COMPILE) $(if $(filter src/%,$(filter-out $(FAST),$<)),$(SMALL)) -MMD -MP -c -o $@ $<

define archive
	$(call say,AR,$@)
	@rm -f $@
	$(Q)$(AR) rcs $@ $(filter %.o,$^)
endef

$(ARCHIVE): $(LIB_OBJ) $(BUILD)/.sources
	$(archive)
$(CLI_LIB): $(CLI_OBJ) $(BUILD)/.sources
	$(archive)
$(HELP_LIB): $(HELP_OBJ) $(BUILD)/.sources
	$(archive)

# The software engine comes last: hosts map code in blocks around what runs, so what every boot
# under KVM runs should lie together.
BT_OBJ      := $(filter $(BUILD)/src/engine/bt/%,$(LIB_OBJ))
PROGRAM_OBJ := $(BUILD)/src/cli/main.o $(CLI_OBJ) $(filter-out $(BT_OBJ),$(LIB_OBJ)) $(BT_OBJ)

$(BUILD)/lodge: $(PROGRAM_OBJ) $(BUILD)/.sources
	$(call say,LD,$@)
	$(Q)$(LINK) -o $@ $(PROGRAM_OBJ) $(LIBS)

$(SHARED): $(LIB_OBJ) $(BUILD)/.sources tools/liblodge.map
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS_ALL) $(HARDEN) $(LDFLAGS_ALL) $(LDHARDEN) -shared \
	  -Wl,-soname,liblodge.so.$(SOMAJOR),--version-script=tools/liblodge.map,--no-undefined \
	  -o $@ $(filter %.o,$^) $(SHARED_LIBS)

$(PC): tools/lodge.pc.in VERSION $(BUILD)/.flags $(BUILD)/.places
	@mkdir -p $(@D)
	$(Q)sed -e 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; s|@INCDIR@|$(INCDIR)|' \
	  -e 's|@VERSION@|$(VERSION)|; s|@LIBS@|$(SHARED_LIBS)|' $< >$@

$(BUILD)/man/%: docs/%.scd
	@mkdir -p $(@D)
	$(call say,MAN,$@)
	$(Q)scdoc <$< >$@

# --- tests -----------------------------------------------------------------------------------

$(BUILD)/tests/unit/%_test: $(BUILD)/tests/unit/%_test.o $(HELP_LIB) $(CLI_LIB) $(ARCHIVE)
	$(call say,LD,$@)
	$(Q)$(LINK) -o $@ $^ $(TEST_LIBS) -lcmocka

unit: $(if $(TESTS),$(foreach t,$(UNIT),$(if $(findstring $(TESTS),$(t)),$(t))),$(UNIT))
	$(Q)tools/run-unit $(BUILD)/tests/unit $^

# The handler of a tick may find anything in FS: it cannot have a canary.
$(BUILD)/tests/insn/native.o: HARDEN += -fno-stack-protector

$(BUILD)/insn: $(call obj,$(INSN_SRC)) $(ARCHIVE)
	$(call say,LD,$@)
	$(Q)$(LINK) -o $@ $^ $(LIBS)

insn: $(BUILD)/insn
	$(Q)$< --seed $(INSN_SEED) --cases $$(($(INSN_CASES) / 2))
	$(Q)$< --seed $$(($(INSN_SEED) + 1)) --cases $$(($(INSN_CASES) / 2)) --executor translate \
	  --only 64:
	$(Q)$< --seed $$(($(INSN_SEED) + 2)) --cases $$(($(INSN_CASES) / 2)) --executor translate \
	  --only 32:

rules: all
	$(Q)tools/check-rules $(if $(SANITIZE),,$(BUILD)/src)

check: rules unit

lab: all
	$(PYTEST) tests

check-slow: all
	$(PYTEST) -m slow tests

check-userland: all
	tools/install-deps -n userland
	$(PYTEST) -s -m userland tests/userland

check-io: all
	tools/install-deps -n userland io
	$(PYTEST) -s -m io tests/io

check-vmx: all
	tools/install-deps -n vmx
	$(PYTEST) -m vmx tests

TORTURE_SEEDS  ?= 4
TORTURE_ROUNDS ?= 1000000
check-torture:
	$(MAKE) BUILD=build-asan SANITIZE=address,undefined all
	LODGE=$(CURDIR)/build-asan/lodge LODGE_TORTURE_SEEDS=$(TORTURE_SEEDS) \
	  LODGE_TORTURE_ROUNDS=$(TORTURE_ROUNDS) $(PYTEST) tests/guest/virtio -k "bt and not interp"

API_REQUESTS ?= 10000
API_SEED     ?= 1
check-api:
	$(MAKE) BUILD=build-asan SANITIZE=address,undefined all
	ASAN_OPTIONS=quarantine_size_mb=8 \
	  LODGE=$(CURDIR)/build-asan/lodge LODGE_API_REQUESTS=$(API_REQUESTS) \
	  LODGE_API_SEED=$(API_SEED) $(PYTEST) tests/e2e/test_openapi.py

# The suite of bench/cpu: static, for it is also a guest's only program; always by the same
# compiler, without vectors but where it asks for them, so that its parts measure what they are
# named for.
BENCH_CC     ?= gcc
BENCH_CFLAGS := -std=gnu11 -O2 -fno-tree-vectorize -fno-tree-loop-distribute-patterns \
                -ffp-contract=off -D_GNU_SOURCE -I. $(WARN)

$(BUILD)/bench/cpu: $(wildcard bench/cpu/*.c bench/cpu/*.h) Makefile
	@mkdir -p $(@D)
	$(call say,BENCHCC,$@)
	$(Q)$(BENCH_CC) $(BENCH_CFLAGS) -static -o $@ $(filter %.c,$^) -lm

bench-programs: $(BUILD)/bench/cpu

BENCH ?= *
bench: all bench-programs
	$(Q)for b in $$(find bench -maxdepth 1 -name '$(BENCH).py' -perm -u+x | sort); do \
	  echo "== $$b $(BENCH_FLAGS)"; $$b $(BENCH_FLAGS) || exit 1; done

# Fuzz programs are the whole library again, compiled with coverage and sanitizers by clang.
FUZZ_FLAGS := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

$(BUILD)/fuzz/%.o: %.c $(BUILD)/.flags | $(BUILD)/.headers
	@mkdir -p $(@D)
	$(call say,FUZZCC,$<)
	$(Q)$(FUZZ_CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link \
	  -MMD -MP -c -o $@ $<

$(BUILD)/fuzz/liblodge.a: $(LIB_SRC:%.c=$(BUILD)/fuzz/%.o) $(BUILD)/.sources
	$(archive)

$(BUILD)/fuzz/%: $(BUILD)/fuzz/tests/fuzz/%_fuzz.o $(BUILD)/fuzz/liblodge.a
	$(call say,LD,$@)
	$(Q)$(FUZZ_CC) $(FUZZ_FLAGS) -fsanitize=fuzzer -pthread -o $@ $^ $(TEST_LIBS)

fuzz: $(FUZZ)

fuzz-run: fuzz
	$(Q)tools/run-fuzz $(FUZZ_SECONDS) $(BUILD)/fuzz $(notdir $(FUZZ))

# --- the rest --------------------------------------------------------------------------------

format:
	$(Q)tools/check-format --fix

SHELLS          := bash zsh fish
COMPLETION_bash := bash-completion/completions/lodge
COMPLETION_zsh  := zsh/site-functions/_lodge
COMPLETION_fish := fish/vendor_completions.d/lodge.fish

install: all lib man $(PC)
	install -d $(addprefix $(DESTDIR),$(BINDIR) $(LIBDIR)/pkgconfig $(INCDIR)/lodge \
	  $(MANDIR)/man1 $(MANDIR)/man3)
	install -m 755 $(BUILD)/lodge $(DESTDIR)$(BINDIR)/lodge
	@# The name by which Firecracker's clients find it; a Firecracker that is there stays.
	[ -e $(DESTDIR)$(BINDIR)/firecracker ] || ln -sf lodge $(DESTDIR)$(BINDIR)/firecracker
	install -m 644 include/lodge/lodge.h $(DESTDIR)$(INCDIR)/lodge/lodge.h
	install -m 644 $(ARCHIVE) $(SHARED) $(DESTDIR)$(LIBDIR)/
	ln -sf liblodge.so.$(VERSION) $(DESTDIR)$(LIBDIR)/liblodge.so.$(SOMAJOR)
	ln -sf liblodge.so.$(SOMAJOR) $(DESTDIR)$(LIBDIR)/liblodge.so
	install -m 644 $(PC) $(DESTDIR)$(LIBDIR)/pkgconfig/lodge.pc
	$(foreach s,1 3,$(if $(filter %.$s,$(MAN)),install -m 644 $(filter %.$s,$(MAN)) \
	  $(DESTDIR)$(MANDIR)/man$s/ &&)) :
	$(foreach s,$(SHELLS),install -d $(DESTDIR)$(SHAREDIR)/$(dir $(COMPLETION_$s)) && \
	  $(BUILD)/lodge completion $s >$(DESTDIR)$(SHAREDIR)/$(COMPLETION_$s) &&) :

uninstall:
	[ "$$(readlink $(DESTDIR)$(BINDIR)/firecracker)" != lodge ] || \
	  rm -f $(DESTDIR)$(BINDIR)/firecracker
	rm -f $(DESTDIR)$(BINDIR)/lodge $(DESTDIR)$(INCDIR)/lodge/lodge.h \
	  $(DESTDIR)$(LIBDIR)/liblodge.a $(DESTDIR)$(LIBDIR)/liblodge.so \
	  $(DESTDIR)$(LIBDIR)/liblodge.so.$(SOMAJOR) $(DESTDIR)$(LIBDIR)/liblodge.so.$(VERSION) \
	  $(DESTDIR)$(LIBDIR)/pkgconfig/lodge.pc \
	  $(foreach s,1 3,$(addprefix $(DESTDIR)$(MANDIR)/man$s/,$(notdir $(filter %.$s,$(MAN))))) \
	  $(foreach s,$(SHELLS),$(DESTDIR)$(SHAREDIR)/$(COMPLETION_$s))
	-rmdir $(DESTDIR)$(INCDIR)/lodge 2>/dev/null

clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
