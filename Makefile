# SPDX-License-Identifier: Apache-2.0
#
# make [all]        build/lodge, the program
# make unit         builds and runs the unit tests
# make check        the source rules and the unit tests
# make format       formats the sources in place
# make install      to $(DESTDIR)$(PREFIX); make uninstall takes it away
# make clean
#
# Variables: BUILD=dir  CC=gcc|clang  WERROR=1  SANITIZE=address,undefined
# Everything is built into $(BUILD); a source file is found by where it lies.

BUILD   ?= build
PREFIX  ?= /usr/local
DESTDIR ?=
WERROR  ?= 0
VERSION := $(shell cat VERSION)

CFLAGS  ?= -O2 -g
WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
           -Wvla -Wundef -Wwrite-strings
ifeq ($(WERROR),1)
WARN    += -Werror
endif
HARDEN  := -fstack-protector-strong -fPIE -D_FORTIFY_SOURCE=2
ifneq ($(SANITIZE),)
HARDEN  := -fPIE -fsanitize=$(SANITIZE) -fno-sanitize-recover=undefined -fno-omit-frame-pointer
endif
CPPFLAGS_ALL := -Isrc -Iinclude -D_GNU_SOURCE -DLODGE_VERSION='"$(VERSION)"' $(CPPFLAGS)
CFLAGS_ALL   := -std=gnu11 $(CFLAGS) $(WARN) $(HARDEN) -ffunction-sections -fdata-sections \
                -pthread -MMD -MP
LDFLAGS_ALL  := -pie -pthread -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--gc-sections $(LDFLAGS)
ifneq ($(SANITIZE),)
LDFLAGS_ALL  += -fsanitize=$(SANITIZE)
endif

# The decompressors are linked in, so that lodge is one file that runs anywhere; with
# STATIC_LIBS=0 they are the host's shared libraries.
STATIC_LIBS ?= 1
LIBS := -lzstd -llzma -llz4 -lz -lbz2 -ljansson
ifeq ($(STATIC_LIBS),1)
LIBS := -Wl,-Bstatic $(LIBS) -Wl,-Bdynamic
endif

SRC      := $(sort $(shell find src -name '*.c'))
CLI_SRC  := $(filter src/cli/%,$(SRC))
LIB_SRC  := $(filter-out $(CLI_SRC),$(SRC))
LIB_OBJ  := $(LIB_SRC:%.c=$(BUILD)/%.o)
CLI_OBJ  := $(CLI_SRC:%.c=$(BUILD)/%.o)
UNIT_SRC := $(sort $(shell find tests/unit -name '*_test.c'))
UNIT     := $(UNIT_SRC:%.c=$(BUILD)/%)
ARCHIVE  := $(BUILD)/liblodge.a
CLI_LIB  := $(BUILD)/libcli.a

.PHONY: all unit check format install uninstall clean
.SECONDARY:

all: $(BUILD)/lodge

$(BUILD)/lodge: $(BUILD)/src/cli/main.o $(CLI_LIB) $(ARCHIVE)
	$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

$(ARCHIVE): $(LIB_OBJ)
	@rm -f $@
	$(AR) rcs $@ $^

$(CLI_LIB): $(filter-out $(BUILD)/src/cli/main.o,$(CLI_OBJ))
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -c -o $@ $<

$(BUILD)/tests/unit/%_test: $(BUILD)/tests/unit/%_test.o $(CLI_LIB) $(ARCHIVE)
	$(CC) $(CFLAGS_ALL) $(LDFLAGS_ALL) -o $@ $^ $(LIBS) -lcmocka

unit: $(UNIT)
	@set -e; for t in $(UNIT); do echo "== $${t#$(BUILD)/tests/unit/}"; timeout 120 $$t; done

clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
