# Every command a person needs. `make help` lists them.
#   B=DIR      build folder (build)
#   CC=clang   compiler (gcc or clang)
#   V=1        show the commands
#   SAN=1      with AddressSanitizer and UndefinedBehaviorSanitizer

B        ?= build
V        ?= 0
CC       := $(if $(filter default,$(origin CC)),gcc,$(CC))
CLANG    ?= clang
BPFTOOL  ?= $(firstword $(wildcard /usr/sbin/bpftool) bpftool)
PREFIX   ?= /usr/local
DESTDIR  ?=
ARCH_BPF := $(subst x86_64,x86,$(subst aarch64,arm64,$(shell uname -m)))

WARN := -Wall -Wextra -Wshadow -Wconversion -Wvla -Wmissing-prototypes -Wstrict-prototypes \
	-Wpointer-arith -Wno-missing-field-initializers -Werror \
	$(if $(findstring clang,$(CC)),-Wno-string-concatenation)
HARDEN := -fPIE -fstack-protector-strong -fcf-protection=full -fno-strict-aliasing
LDHARDEN := -pie -Wl,-z,relro,-z,now,-z,noexecstack
ifeq ($(SAN),1)
OPT := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
else
OPT := -O2 -g -D_FORTIFY_SOURCE=3
endif
INCLUDES := -Iuserspace -I. -Ibpf -isystem $(B)/gen
CFLAGS += -std=gnu11 -D_GNU_SOURCE $(OPT) $(WARN) $(HARDEN) $(INCLUDES) -MMD -MP
LDFLAGS += $(LDHARDEN)
LIBS := -lbpf -lssl -lcrypto -lyaml -ljansson -lsqlite3 -lpg_query -lseccomp -lcap-ng -lpthread

# Who may include whom: left to right only (tools/check-includes.py). The same order links.
MODULES := roles session kernel identity authn tls approval proto ipc io config \
	policy mask audit model base
dir_of = $(if $(filter policy mask audit,$1),$1,userspace/$1)
src_of = $(wildcard $(call dir_of,$1)/*.c $(call dir_of,$1)/*/*.c)
obj_of = $(patsubst %.c,$(B)/obj/%.o,$(call src_of,$1))
archive_of = $(if $(call src_of,$1),$(B)/lib/lib$1.a)

# What the tests of a module link.
LOW := model base
DEPS_base := base
DEPS_model := model base
DEPS_io := io $(LOW)
DEPS_ipc := ipc io $(LOW)
DEPS_config := config $(LOW)
DEPS_kernel := kernel ipc io $(LOW)
DEPS_identity := identity ipc io $(LOW)
DEPS_authn := authn $(LOW)
DEPS_tls := tls io $(LOW)
DEPS_approval := approval ipc io $(LOW)
DEPS_proto := proto $(LOW)
DEPS_policy := policy $(LOW)
DEPS_mask := mask $(LOW)
DEPS_audit := audit $(LOW)
DEPS_session := session proto tls authn mask policy audit ipc io $(LOW)
DEPS_roles := $(MODULES)
DEPS_tools := $(filter-out roles session,$(MODULES))

ARCHIVES := $(foreach m,$(MODULES),$(call archive_of,$(m)))
TOOL_OBJS := $(patsubst %.c,$(B)/obj/%.o,$(wildcard tools/*.c))
TOOL_ARCHIVES := $(foreach m,$(DEPS_tools),$(call archive_of,$(m)))
SKEL := $(B)/gen/steer.skel.h

ifeq ($(V),0)
Q := @
say = @printf '  %-7s %s\n' $1 $(patsubst $(B)/%,%,$@)
else
say = @:
endif

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.PHONY: all help deps demo test unit unit-bin corpus lint format bench fuzz install clean \
	test-pg-regress e2e

all: $(B)/sluiced $(B)/sluicectl ## build sluiced and sluicectl

help: ## list the commands
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | sort | expand -t 18

deps: ## install what building, testing and the demo need (Debian 12, root)
	@tools/install-deps.sh

$(B)/bpf/%.bpf.o: bpf/%.bpf.c $(wildcard bpf/*.h)
	@mkdir -p $(@D)
	$(call say,BPF)
	$(Q)$(CLANG) -g -O2 -target bpf -D__TARGET_ARCH_$(ARCH_BPF) -Wall -Werror -Ibpf -c $< -o $@

$(B)/gen/%.skel.h: $(B)/bpf/%.bpf.o
	@mkdir -p $(@D)
	$(call say,SKEL)
	$(Q){ echo '#pragma GCC system_header /* NOLINTBEGIN */'; \
		$(BPFTOOL) gen skeleton $< name $*_bpf; echo '/* NOLINTEND */'; } > $@

$(call obj_of,kernel): | $(SKEL)

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CFLAGS) -c $< -o $@

define archive_rule
$(B)/lib/lib$1.a: $(call obj_of,$1)
	@mkdir -p $$(@D)
	@rm -f $$@
	$$(call say,AR)
	$$(Q)ar rcs $$@ $$^
endef
$(foreach m,$(MODULES),$(if $(call src_of,$m),$(eval $(call archive_rule,$m))))

$(B)/sluiced: $(B)/obj/userspace/main.o $(ARCHIVES)
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $< -Wl,--start-group $(ARCHIVES) -Wl,--end-group $(LIBS)

$(B)/sluicectl: $(TOOL_OBJS) $(TOOL_ARCHIVES)
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(TOOL_OBJS) -Wl,--start-group $(TOOL_ARCHIVES) -Wl,--end-group $(LIBS)

# tests/unit/MODULE/test_X.c -> $(B)/unit/MODULE/test_X, linked with what the module may use.
UNITS := $(patsubst %.c,$(B)/%,$(subst tests/,,$(wildcard tests/unit/*/test_*.c)))
unit_archives = $(foreach m,$(DEPS_$1),$(call archive_of,$(m)))
define unit_rule
$(B)/unit/$1/test_%: tests/unit/$1/test_%.c $(call unit_archives,$1)
	@mkdir -p $$(@D)
	$$(call say,TEST)
	$$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -Itests -o $$@ $$< -Wl,--start-group $(call unit_archives,$1) \
		-Wl,--end-group $(LIBS) -lcmocka
endef
$(foreach m,$(MODULES) tools,$(eval $(call unit_rule,$m)))
UNIT_DIRS := $(addprefix $(B)/unit/,$(notdir $(UNITS)))
UNIT_BINS := $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/*/test_*.c))

unit-bin: $(UNIT_BINS)
# One module's unit tests: make unit-policy
unit-%: ALWAYS
	@$(MAKE) --no-print-directory $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/$*/test_*.c))
	@set -e; for t in $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/$*/test_*.c)); do $$t; done
ALWAYS:
.PHONY: ALWAYS

# tests/fuzz/MODULE_X.c: a libFuzzer target (clang), or with tests/fuzz/replay.c a program that
# replays the files it is given.
FUZZ_SRCS := $(filter-out tests/fuzz/replay.c,$(wildcard tests/fuzz/*.c))
fuzz_module = $(firstword $(subst _, ,$1))
define fuzz_rule
$(B)/fuzz/$1: tests/fuzz/$1.c $(call unit_archives,$(call fuzz_module,$1))
	@mkdir -p $$(@D)
	$$(call say,FUZZ)
	$$(Q)$$(CC) $$(CFLAGS) $$(if $$(REPLAY),,-fsanitize=fuzzer) $$(LDFLAGS) -o $$@ $$< \
		$$(if $$(REPLAY),tests/fuzz/replay.c) \
		-Wl,--start-group $(call unit_archives,$(call fuzz_module,$1)) -Wl,--end-group $$(LIBS)
endef
$(foreach f,$(basename $(notdir $(FUZZ_SRCS))),$(eval $(call fuzz_rule,$f)))
fuzz-bin: $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(FUZZ_SRCS))
.PHONY: fuzz-bin

FUZZ_SECONDS ?= 60
fuzz: ## run each fuzzer for FUZZ_SECONDS (60)
	@$(MAKE) --no-print-directory B=$(B)/fuzzing CC=clang SAN=1 FUZZING=1 fuzz-bin
	@tests/fuzz/run.sh $(B)/fuzzing/fuzz $(FUZZ_SECONDS)

ifeq ($(FUZZING),1)
CFLAGS += -fsanitize=fuzzer-no-link
endif

test: ## install what is needed, build, lint, run every test; ends with "N passed, N failed"
	@tests/run.sh

e2e: all ## the end-to-end tests alone
	@tests/run.sh e2e

test-pg-regress: ## PostgreSQL's own regression suite, direct and through sluice
	@tests/pg-regress/run.sh

demo: ## the whole story on the terminal; KEEP=1 leaves it running
	@tools/install-deps.sh
	@$(MAKE) --no-print-directory all
	@KEEP=$(KEEP) B=$(B) examples/demo/demo.sh

# A part of bench that works on the recorder itself.
$(B)/bench/recorder_bench: tests/bench/recorder_bench.c $(ARCHIVES)
	@mkdir -p $(@D)
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $< -Wl,--start-group $(ARCHIVES) -Wl,--end-group $(LIBS)

bench: ## speed, as ratios in one run: a table, and JSON under build/bench/
	@tools/install-deps.sh
	@$(MAKE) --no-print-directory all
	@B=$(B) tests/bench/run.sh

lint: ## format, clang-tidy, include direction, forbidden calls, shell scripts
	@tools/lint.sh

C_FILES = $(shell git ls-files '*.c' '*.h' ':!bpf/vmlinux.h')
format: ## lay the code out (clang-format)
	clang-format -i $(C_FILES)

install: all ## install under DESTDIR and PREFIX (/usr/local)
	install -D -m 0755 $(B)/sluiced $(DESTDIR)$(PREFIX)/sbin/sluiced
	install -D -m 0755 $(B)/sluicectl $(DESTDIR)$(PREFIX)/bin/sluicectl
	install -D -m 0644 examples/sluice.yaml $(DESTDIR)$(PREFIX)/share/sluice/examples/sluice.yaml
	install -D -m 0644 examples/policy.yaml $(DESTDIR)$(PREFIX)/share/sluice/examples/policy.yaml
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's|@PREFIX@|$(PREFIX)|g' deploy/sluiced.service.in > $(DESTDIR)$(PREFIX)/lib/systemd/system/sluiced.service

clean: ## remove what was built
	rm -rf $(B)

-include $(shell find $(B)/obj $(B)/unit $(B)/fuzz -name '*.d' 2>/dev/null)
