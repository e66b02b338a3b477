#!/usr/bin/python3
"""Who may include whom: left to right only, as DESIGN.md and the Makefile's MODULES say.

Usage: tools/check-includes.py [ROOT]
Prints file:line: what is wrong, for every include that points the wrong way; exits 1 when any does.
"""

import os
import re
import sys

LOW = {"model", "base"}
PURE = {"policy", "mask", "audit"}
MIDDLE = {"kernel", "identity", "authn", "tls", "approval", "proto"}
BELOW_MIDDLE = {"ipc", "io", "config"} | LOW
SESSION = MIDDLE | BELOW_MIDDLE | PURE

ALLOWED = {
    "roles": SESSION | {"session"},
    "session": SESSION,
    **{m: BELOW_MIDDLE for m in MIDDLE},
    "ipc": {"io"} | LOW,
    "io": LOW,
    "config": LOW,
    **{m: LOW for m in PURE},
    "model": {"base"},
    "base": set(),
    "main": SESSION | {"session", "roles"},
    "tools": SESSION - {"session"},
}
# The header that both sides share, and the generated skeleton: the kernel side's own business. A
# worker reads origins, so roles may know the layout as well.
KERNEL_HEADERS = {"abi.h": {"kernel", "roles", "session", "tools"}, "steer.skel.h": {"kernel"}}

INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')


def module_of(path):
    parts = path.split("/")
    if parts[0] == "userspace":
        return parts[1] if len(parts) > 2 else "main"
    return parts[0]


def check_file(root, path):
    module = module_of(path)
    faults = []
    with open(os.path.join(root, path), encoding="utf-8", errors="replace") as f:
        for number, line in enumerate(f, 1):
            found = INCLUDE.match(line)
            if not found:
                continue
            kind, target = found.groups()
            fault = check_include(root, path, module, kind, target)
            if fault:
                faults.append(f"{path}:{number}: {fault}")
    return faults


def check_include(root, path, module, kind, target):
    first = target.split("/")[0]
    if target in KERNEL_HEADERS:
        if module not in KERNEL_HEADERS[target]:
            return f"{module} may not include {target}"
        return None
    if ".." in target.split("/"):
        return f"include by module, not by a relative path: {target}"
    if first in ALLOWED and "/" in target and (kind == '"' or exists(root, target)):
        if not exists(root, target):
            return f"no such header: {target}"
        if first != module and first not in ALLOWED[module]:
            return f"{module} may not include {first} ({target}): left to right only"
        return None
    if kind == '"' and not os.path.exists(os.path.join(root, os.path.dirname(path), target)):
        return f"include by module (\"module/x.h\"): {target}"
    if kind == '"' and module != "tools":
        return f"include by module (\"{module}/…\"): {target}"
    return None


def exists(root, target):
    return any(os.path.exists(os.path.join(root, base, target)) for base in ("userspace", "."))


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    faults = []
    for top in ("userspace", "policy", "mask", "audit", "tools"):
        for folder, _, files in os.walk(os.path.join(root, top)):
            for name in sorted(files):
                if name.endswith((".c", ".h")):
                    path = os.path.relpath(os.path.join(folder, name), root)
                    module = module_of(path)
                    if module not in ALLOWED:
                        faults.append(f"{path}:1: no such module in tools/check-includes.py: {module}")
                    else:
                        faults += check_file(root, path)
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
