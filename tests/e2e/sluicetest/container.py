"""Real OCI containers (runc) made of the host's own /usr, with a network namespace that has only loopback.

runc wants /sys/fs/cgroup to be a plain cgroup2 mount, so it runs in a mount namespace of its own where
that is so; on the host nothing is mounted or changed.
"""

import contextlib
import itertools
import json
import os
import subprocess
import tempfile

from . import cleanup
from .util import Failure, check, cgroup2_root, end, remove_dir, run, temp_dir, wait_until

TOKEN_PATH = "/var/run/secrets/sluice/token"
# What container engines give by default.
CAPABILITIES = ["CAP_" + c for c in (
    "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID "
    "SETPCAP SETUID SYS_CHROOT").split()]

_serial = itertools.count(1)


class Engine:
    """The mount namespace for runc, and runc's state folder. One for a whole run of tests."""

    def __init__(self):
        self.dir = temp_dir("runc")
        self.holder = subprocess.Popen(
            ["unshare", "-m", "--propagation", "private", "sh", "-c",
             "umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && echo ready && "
             "exec sleep infinity"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
            preexec_fn=cleanup.dies_with_us)
        cleanup.register(self)
        check(self.holder.stdout.readline() == "ready\n", "no mount namespace with cgroup2 for runc")

    def runc(self, *args):
        return ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", "runc", "--root", f"{self.dir}/state",
                *args]

    def close(self):
        cleanup.unregister(self)
        end(self.holder)
        self.holder.stdout.close()
        remove_dir(self.dir)


class Container:
    def __init__(self, engine, scope, name="support-agent", token=None, hosts=None, uid=1000, start=True,
                 files=None):
        """scope: cgroup path under which the container's own is made. files: name -> text, in /agent."""
        self.engine, self.uid = engine, uid
        self.id = f"{name}-{os.getpid()}-{next(_serial)}"
        self.cgroup = f"{scope}/{self.id}"
        self.dir = os.path.join(engine.dir, self.id)
        self.secrets = os.path.join(self.dir, "secrets")
        self.agent = os.path.join(self.dir, "agent")
        self.running = False
        cleanup.register(self)
        for path in ("rootfs", "secrets", "agent", "etc"):
            os.makedirs(os.path.join(self.dir, path))
        self._make_root(hosts or {})
        self.set_token(token)
        for file, text in (files or {}).items():
            self.put(file, text)
        if start:
            self.start()

    def _make_root(self, hosts):
        root, etc = os.path.join(self.dir, "rootfs"), os.path.join(self.dir, "etc")
        for path in ("usr", "etc", "tmp", "proc", "dev", "sys", "run", "var", "agent"):
            os.mkdir(os.path.join(root, path))
        os.symlink("/run", os.path.join(root, "var/run"))
        for name in ("bin", "sbin", "lib", "lib32", "lib64"):
            if os.path.islink("/" + name):
                os.symlink("usr/" + name, os.path.join(root, name))
        texts = {
            "passwd": "root:x:0:0:root:/root:/bin/sh\nagent:x:1000:1000:agent:/tmp:/bin/sh\n",
            "group": "root:x:0:\nagent:x:1000:\n",
            "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
            "hostname": self.id + "\n",
            "hosts": "127.0.0.1 localhost\n::1 localhost\n"
                     + "".join(f"{a} {h}\n" for h, addrs in hosts.items()
                               for a in ([addrs] if isinstance(addrs, str) else addrs)),
        }
        for name, text in texts.items():
            with open(os.path.join(etc, name), "w", encoding="ascii") as f:
                f.write(text)
        with open("/etc/ld.so.cache", "rb") as src, open(os.path.join(etc, "ld.so.cache"), "wb") as dst:
            dst.write(src.read())

    def _spec(self):
        def bind(src, dst, *options):
            return {"destination": dst, "type": "none", "source": src,
                    "options": ["rbind", "nosuid", "nodev", *options]}
        capabilities = CAPABILITIES if self.uid == 0 else []
        return {
            "ociVersion": "1.0.2", "hostname": self.id,
            "process": {
                "terminal": False, "user": {"uid": self.uid, "gid": self.uid}, "cwd": "/tmp",
                "args": ["/usr/bin/sleep", "infinity"], "noNewPrivileges": True,
                "env": ["PATH=/usr/sbin:/usr/bin", "HOME=/tmp", "LANG=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1",
                        "PGCONNECT_TIMEOUT=20"],
                "capabilities": {"bounding": CAPABILITIES, "effective": capabilities,
                                 "permitted": capabilities, "inheritable": []}},
            "root": {"path": "rootfs", "readonly": True},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                 "options": ["nosuid", "strictatime", "mode=755", "size=64k"]},
                {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"]},
                {"destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
                bind("/usr", "/usr", "ro"),
                bind(os.path.join(self.dir, "etc"), "/etc", "ro"),
                bind(self.secrets, "/run/secrets/sluice", "ro"),
                bind(self.agent, "/agent", "ro"),
            ],
            "linux": {
                "cgroupsPath": self.cgroup,
                "namespaces": [{"type": t} for t in ("pid", "network", "ipc", "uts", "mount")],
                "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list"],
                "readonlyPaths": ["/proc/sys", "/proc/sysrq-trigger"]}}

    def set_token(self, token):
        """Put the token file that the container sees; None: no file."""
        path = os.path.join(self.secrets, "token")
        if token is None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            return
        with open(path + ".new", "w", encoding="ascii") as f:
            f.write(token)
        os.chmod(path + ".new", 0o644)
        os.rename(path + ".new", path)

    def put(self, name, text):
        path = os.path.join(self.agent, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(path, 0o755)

    def start(self):
        with open(os.path.join(self.dir, "config.json"), "w", encoding="ascii") as f:
            json.dump(self._spec(), f)
        # Said before it is so: a start that is cut short is cleared away too.
        self.running = True
        with open(os.path.join(self.dir, "log"), "wb") as log:
            rc = subprocess.run(self.engine.runc("run", "--detach", "--bundle", self.dir, self.id),
                                stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=60,
                                check=False).returncode
        if rc != 0:
            with open(os.path.join(self.dir, "log"), encoding="utf-8", errors="replace") as f:
                raise Failure("runc run: " + f.read())
        return self

    def pid(self):
        """The container's first process, as the host numbers it."""
        return json.loads(run(self.engine.runc("state", self.id)).stdout)["pid"]

    def _exec(self, args, env, uid, pid_file):
        options = [x for k, v in (env or {}).items() for x in ("--env", f"{k}={v}")]
        if uid is not None:
            options += ["--user", f"{uid}:{uid}"]
        return self.engine.runc("exec", "--pid-file", pid_file, *options, self.id, *args)

    def popen(self, args, env=None, uid=None, **kw):
        """Start a command inside; a Popen with `.host_pid`, the process itself as the host numbers it."""
        fd, pid_file = tempfile.mkstemp(dir=self.dir)
        os.close(fd)
        kw.setdefault("stdin", subprocess.DEVNULL)
        kw.setdefault("stdout", subprocess.PIPE)
        kw.setdefault("stderr", subprocess.STDOUT)
        process = subprocess.Popen(self._exec(args, env, uid, pid_file), text=True, errors="replace", **kw)

        def read_pid():
            with open(pid_file, encoding="ascii") as f:
                text = f.read().strip()
            return text or process.poll() is not None
        text = wait_until(read_pid, 20, "runc exec")
        process.host_pid = int(text) if text is not True else None
        return process

    def run(self, args, env=None, uid=None, timeout=60, stdin=None, check_rc=False):
        """Run a command inside to its end: CompletedProcess with stdout and stderr as text."""
        kw = {"input": stdin, "stdin": None} if stdin is not None else {}
        return run(self._exec(args, env, uid, os.path.join(self.dir, "pid")), check_rc=check_rc,
                   timeout=timeout, **kw)

    def psql(self, sql, *options, host="db.internal", db="customers", user="nobody", timeout=60, env=None,
             port=5432):
        """An unmodified psql. `.out` has both outputs, as a person would see them."""
        done = self.run(["psql", "-X", "-h", host, "-p", str(port), "-U", user, "-d", db, *options, "-c", sql],
                        timeout=timeout, env={"PGSSLMODE": "prefer", **(env or {})})
        done.out = done.stdout + done.stderr
        return done

    def python(self, script, *args, timeout=120, check_rc=True, uid=None):
        """Run a Python program inside; its output. Failure when it fails, unless check_rc is False."""
        done = self.run(["/usr/bin/python3", "-c", script, *args], timeout=timeout, uid=uid)
        if check_rc and done.returncode != 0:
            raise Failure(f"program in the container: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout + (done.stderr if not check_rc else "")

    def popen_python(self, script, *args, **kw):
        return self.popen(["/usr/bin/python3", "-u", "-c", script, *args], **kw)

    def close(self):
        cleanup.unregister(self)
        if self.running:
            run(self.engine.runc("delete", "--force", self.id), check_rc=False)
            self.running = False
        path = cgroup2_root() + self.cgroup
        with contextlib.suppress(OSError):
            wait_until(lambda: not os.path.exists(path) or not _rmdir(path), 5, "the container's cgroup to go")
        remove_dir(self.dir)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def _rmdir(path):
    with contextlib.suppress(OSError):
        os.rmdir(path)
    return os.path.exists(path)
