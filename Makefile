# make demo    a first run: installs what is missing, builds, searches primes
# make check   every spec; installs what they need besides
#
# A variant is a build of its own: release (build/taskengine), test (with the
# bindings that only specs use), asan, tsan, fuzz (by clang). All but release
# live whole in build/VARIANT: `make VARIANT=asan`, then tools/specs.

VARIANT ?= release
override BUILD := $(patsubst $(CURDIR)/%,%,$(abspath $(or $(BUILD),build)))
PREFIX ?= /usr/local
LUA ?= lua5.4
PKG_CONFIG ?= pkg-config

OUT := $(BUILD)/$(VARIANT)
BIN := $(if $(filter release,$(VARIANT)),$(BUILD),$(OUT))
PROGRAM := $(BIN)/taskengine
MODULE := $(BIN)/lib/taskengine/core.so

LUA_FILES := $(sort $(shell find lua -name '*.lua'))
NATIVE := $(patsubst recipes/native/%.c,$(BIN)/lib/native/%.so,\
  $(wildcard recipes/native/*.c))
FUZZERS := $(patsubst spec/fuzz/%.c,$(OUT)/%,$(wildcard spec/fuzz/*.c))
SOURCES := $(wildcard engine/*.c engine/bind/*.c)

# pkg(--cflags or --libs, NAME...): the first name that this system knows
pkg = $(shell for p in $(2); do $(PKG_CONFIG) $(1) $$p 2>&- && break; done)
LUA_NAMES := lua5.4 lua-5.4 lua54 lua
INCLUDES := $(call pkg,--cflags,$(LUA_NAMES)) $(call pkg,--cflags,libuv)
LUA_LIBS := $(or $(call pkg,--libs,$(LUA_NAMES)),-llua5.4)
LIBS := $(or $(call pkg,--libs,libuv),-luv) \
  $(or $(call pkg,--libs,hiredis),-lhiredis) \
  $(or $(call pkg,--libs,jansson),-ljansson) -lm

# What only specs use stays out of the release.
ifeq ($(VARIANT),release)
SOURCES := $(filter-out engine/bind/testing%.c,$(SOURCES))
else
DEFINES := -DTE_TESTING
LIBS += $(or $(call pkg,--libs,msgpack-c msgpack),-lmsgpackc)
endif
OBJECTS := $(SOURCES:%.c=$(OUT)/%.o) $(OUT)/embedded_lua.o

WARNINGS := -Wall -Wextra -Werror -Wshadow -Wconversion -Wno-sign-conversion \
  -Wundef -Wvla -Wformat=2 -Wwrite-strings -Wcast-qual -Wpointer-arith \
  -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition \
  -Wnull-dereference -Wswitch-enum
HARDEN := -fstack-protector-strong -fstack-clash-protection \
  $(if $(filter x86_64,$(shell uname -m)),-fcf-protection)
SANITIZE.asan := -fno-sanitize-recover=all -fsanitize=address,undefined
SANITIZE.tsan := -fsanitize=thread
SANITIZE.fuzz := $(SANITIZE.asan),fuzzer-no-link
SANITIZE := $(SANITIZE.$(VARIANT))
# A sanitizer wants to see the calls that _FORTIFY_SOURCE would replace, and
# its own code sets off warnings that the other variants have looked for.
DEFINES += -U_FORTIFY_SOURCE $(if $(SANITIZE),,-D_FORTIFY_SOURCE=3)
CFLAGS ?= -O2 -g
COMPILE := $(CC) $(DEFINES) -iquote engine $(INCLUDES) $(CPPFLAGS) -MMD -MP \
  $(CFLAGS) -D_GNU_SOURCE -std=c11 -fPIC -fno-common -fvisibility=hidden \
  $(HARDEN) $(if $(SANITIZE),$(SANITIZE) -w,$(WARNINGS))
LINK := $(CC) $(CFLAGS) $(SANITIZE) $(LDFLAGS) -Wl,-z,relro,-z,now \
  -Wl,-z,noexecstack,-z,separate-code,--as-needed
# Every recipe begins with it; V=1 shows the commands.
say = $(if $(V),,@)mkdir -p $(@D); $(if $(V),,printf '  %-4s %s\n' $(1) $@;)

.PHONY: all lint format docs pictures demo bench bench-peers check test asan \
  tsan gcstress valgrind soak fuzz install uninstall clean
all: $(if $(filter fuzz,$(VARIANT)),$(FUZZERS),$(PROGRAM) $(MODULE) $(NATIVE))
.DELETE_ON_ERROR:

# A folder among the sources: its time changes when a file goes away.
$(PROGRAM): $(OBJECTS) engine engine/bind
	$(call say,LINK) $(LINK) -pie -o $@ $(filter %.o,$^) $(LUA_LIBS) $(LIBS)

# No liblua, two in one process break. Never unloaded: resolve.c has threads.
$(MODULE): $(filter-out %/engine/main.o,$(OBJECTS)) engine engine/bind
	$(call say,LINK) $(LINK) -shared -Wl,-z,nodelete -o $@ $(filter %.o,$^) $(LIBS)

$(FUZZERS): $(OUT)/%: $(OUT)/spec/fuzz/%.o $(OUT)/spec/fuzz/support/fuzz.o \
  $(filter-out %/engine/main.o,$(OBJECTS))
	$(call say,LINK) $(LINK) -fsanitize=fuzzer -o $@ $^ $(LUA_LIBS) $(LIBS)

$(OUT)/%.o: %.c Makefile ; $(call say,CC) $(COMPILE) -c -o $@ $<
$(OUT)/%.o: $(OUT)/%.c Makefile ; $(call say,CC) $(COMPILE) -c -o $@ $<

$(OUT)/embedded_lua.c: tools/embed.lua $(LUA_FILES) $(shell find lua -type d)
	$(call say,LUA) $(LUA) tools/embed.lua lua $(LUA_FILES) >$@

# What task files ask for by name, e.g. native.primes.
$(NATIVE): $(BIN)/lib/native/%.so: $(OUT)/recipes/native/%.o
	$(call say,LINK) $(LINK) -shared -o $@ $^ -lprimesieve
$(BIN)/lib/native/textcount.so: $(OUT)/recipes/native/support/printset.o

-include $(OBJECTS:.o=.d) $(wildcard $(addprefix \
  $(OUT)/recipes/native/,*.d */*.d))

DO.lint = tools/lint $(INCLUDES)
DO.format = clang-format -i $(shell find engine recipes spec -name '*.[ch]')
DO.docs = ldoc -q -d $(BUILD)/docs . >/dev/null && echo $(BUILD)/docs/index.html
lint format docs:
	@tools/install-packages run lint
	@$(DO.$@)

JOBS = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))
build = @$(MAKE) -s $(JOBS) all VARIANT=$(1)

DO.pictures = tools/install-packages pictures && tools/pictures
DO.demo = $(BUILD)/taskengine run recipes/primes.lua 10000000
DO.bench = eval "$$($(BUILD)/taskengine env)" && $(LUA) $(subst -,/,$@)/run.lua
demo bench bench-peers pictures:
	@tools/install-packages run
	$(call build,release)
	@$(DO.$(firstword $(subst -, ,$@)))

# The variant and what to run on it. tsan: for libuv, scribe.c and resolve.c.
# valgrind would take a quarter of an hour for each that is Lua alone.
SPECS.check := test spec
SPECS.test := test spec/unit
SPECS.asan := asan spec
SPECS.tsan := tsan spec/unit
SPECS.gcstress := test --helper=spec/support/gc_stress.lua spec
LUA_ALONE := interleavings flow_damage flow_faults flow_hostile
SPECS.valgrind := valgrind $(LUA_ALONE:%=--exclude-pattern=%) spec/unit
SPECS.soak := test spec/fault
soak: export TE_FULL = 1

check test asan tsan gcstress valgrind soak:
	@tools/install-packages run test $(filter valgrind,$@)
	$(call build,release)
	$(call build,$(patsubst valgrind,test,$(firstword $(SPECS.$@))))
	@tools/specs $(SPECS.$@)

fuzz:
	@tools/install-packages run test fuzz
	$(call build,fuzz) CC=clang
	@tools/fuzz $(BUILD)/fuzz

BINDIR ?= $(PREFIX)/bin
LIBDIR ?= $(PREFIX)/lib/lua/5.4
LUADIR ?= $(PREFIX)/share/lua/5.4
# Of other targets, such as check, a make inside is to find its own.
$(if $(filter install uninstall,$(MAKECMDGOALS)),\
  $(eval export DESTDIR PREFIX BINDIR LIBDIR LUADIR))
install: all
install uninstall:
	@tools/install-files $@ $(PROGRAM) $(MODULE) $(NATIVE)
clean:
	rm -rf $(BUILD)
