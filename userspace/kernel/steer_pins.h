/* steer_pins.h - what is pinned below bpf_dir: maps as map_NAME, links as link_NAME.
 * Used by: kernel/steer*.c only.
 * Promises: nothing that is in force changes before pins_commit; what failed leaves no pin. */
#ifndef SLUICE_KERNEL_STEER_PINS_H
#define SLUICE_KERNEL_STEER_PINS_H

#include <bpf/libbpf.h>

#include "base/macro.h"

#define PIN_PATH_MAX 512

/* Make bpf_dir (mode 0700), mounting bpffs on its parent when that is another filesystem. */
_must_check_ int pins_prepare(const char *bpf_dir);
/* Path of a pin; -ENAMETOOLONG. suffix "": the pin in force, "_new": before it is. */
_must_check_ int pin_path(const char *bpf_dir, const char *kind, const char *name,
			  const char *suffix, char ret_path[static PIN_PATH_MAX]);
/* Rename every NAME_new to NAME. */
_must_check_ int pins_commit(const char *bpf_dir);
/* Remove every NAME_new. */
void pins_discard(const char *bpf_dir);
/* See steer_detach. */
_must_check_ int pins_remove(const char *bpf_dir);

#endif
