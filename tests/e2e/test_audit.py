"""Evidence: searched, verified, and a changed byte found."""

import os
import shutil
import sqlite3

from sluicetest.sluice import body
from sluicetest.util import check, check_eq, check_in, run


def test_search_filters(w):
    w.agent.psql("SELECT 'search-me' FROM orders LIMIT 1")
    op = w.sluice.ops("'search-me'")[-1]
    w.agent.psql("SELECT 1", host="unknown.internal")
    w.sluice.events("session.refused")
    every = w.sluice.audit()
    refused = w.sluice.audit("--kind", "session.refused")
    check(refused and all(e["kind"] == "session.refused" for e in refused))
    check(len(refused) < len(every))
    session = body(op)["session"]
    mine = w.sluice.audit("--session", session)
    check({e["kind"] for e in mine} >= {"session.open", "op", "op.result"}, mine)
    check(all(session in str(e) for e in mine))
    text = w.sluice.ctl("audit", "search", "--session", session).stdout
    check_in("psql", text)
    check_in("search-me", text)


def test_every_event_has_its_frame(w):
    events = w.sluice.audit()
    seqs = [e["seq"] for e in events]
    check_eq(seqs, sorted(seqs))
    check_eq(len(set(seqs)), len(seqs))
    for e in events:
        for field in ("seq", "time", "node", "kind"):
            check(field in e, field, e)
        check_eq(e["node"], "testnode")


def test_show(w):
    w.agent.psql("SELECT 'show-me' FROM orders LIMIT 1")
    op = w.sluice.ops("'show-me'")[-1]
    out = w.sluice.ctl("audit", "show", str(op["seq"])).stdout
    for text in ("show-me", "support-agent", "customers-db", "read customers"):
        check_in(text, out)


def test_request_is_recorded_before_its_result(w):
    w.agent.psql("SELECT 'ordered' FROM orders LIMIT 1")
    op = w.sluice.ops("'ordered'")[-1]
    result = w.sluice.events("op.result", lambda e: body(e)["session"] == body(op)["session"])
    check(op["seq"] < result[0]["seq"])


def copy_store(w, to):
    """The store as it is on disk, all of it in one file."""
    os.makedirs(to, exist_ok=True)
    target = os.path.join(to, "store.db")
    with w.sqlite() as src, sqlite3.connect(target) as dst:
        src.backup(dst)
    for name in os.listdir(w.state_dir):
        path = os.path.join(w.state_dir, name)
        if not name.startswith("store.db") and os.path.isfile(path):
            shutil.copy(path, to)
    return target


def verify(w, store):
    return run([f"{w.build}/sluicectl", "audit", "verify", "--state-dir", os.path.dirname(store)], check_rc=False, timeout=60)


def test_verify_whole(w):
    done = w.sluice.ctl("audit", "verify", check_rc=False)
    check_eq(done.returncode, 0, done.stdout + done.stderr)


def test_one_flipped_byte_is_found(w):
    w.agent.psql("SELECT 'flip-this-text' FROM orders LIMIT 1")
    w.sluice.ops("'flip-this-text'")
    # What is held in memory gets to the disk with the next group commit.
    w.sluice.events("session.close", seconds=5)
    folder = os.path.join(w.dir, "copied")
    store = copy_store(w.sluice, folder)
    good = verify(w, store)
    check_eq(good.returncode, 0, good.stdout + good.stderr)
    with open(store, "rb") as f:
        data = bytearray(f.read())
    at = data.find(b"flip-this-text")
    check(at > 0, "the text is not in the store's file")
    data[at] ^= 1
    with open(store, "wb") as f:
        f.write(data)
    bad = verify(w, store)
    check_eq(bad.returncode, 1, bad.stdout + bad.stderr)
    check(any(c.isdigit() for c in bad.stdout + bad.stderr), "does not say where", bad.stdout, bad.stderr)
    shutil.rmtree(folder)


def test_removed_swapped_and_added_events_are_found(w):
    folder = os.path.join(w.dir, "edited")
    w.sluice.events("op", at_least=3)

    def edited(change):
        shutil.rmtree(folder, ignore_errors=True)
        store = copy_store(w.sluice, folder)
        with sqlite3.connect(store) as db:
            table = next(n for (n,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
                         if n.startswith("event"))
            db.execute("PRAGMA foreign_keys = OFF")
            for (trigger,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                db.execute(f"DROP TRIGGER {trigger}")
            change(db, table)
        return verify(w, store)
    middle = "(SELECT max(rowid) / 2 FROM {t})"
    cases = {
        "removed": lambda db, t: db.execute(f"DELETE FROM {t} WHERE rowid = {middle.format(t=t)}"),
        "cut off": lambda db, t: db.execute(f"DELETE FROM {t} WHERE rowid > {middle.format(t=t)}"),
        "first gone": lambda db, t: db.execute(f"DELETE FROM {t} WHERE rowid = (SELECT min(rowid) FROM {t})"),
    }
    for name, change in cases.items():
        done = edited(change)
        check_eq(done.returncode, 1, name + ": " + done.stdout + done.stderr)
    shutil.rmtree(folder)


def test_durable_rule_is_on_disk(w):
    """A durable operation is in the store's files before it runs; kill -9 loses nothing of it."""
    import signal
    from sluicetest.util import wait_until, alive
    with w.new_sluice() as s, w.container(sluice=s) as c:
        p = c.popen(["psql", "-X", "-h", "db.internal", "-U", "x", "customers", "-c",
                     "UPDATE customers SET balance = balance WHERE id = 1"])
        asked = s.pending("balance = balance")
        s.ctl("approvals", "approve", asked["id"])
        out, _ = p.communicate(timeout=15)
        check_in("UPDATE 1", out)
        pids = s.descendants()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        s.process.wait(10)
        wait_until(lambda: not [x for x in pids if alive(x)], 10, "the end of sluiced")
        done = run([f"{w.build}/sluicectl", "audit", "search", "--state-dir", s.state_dir, "--limit", "0", "--json"], check_rc=False)
        check_in("SET balance = balance", done.stdout)
        check_in(asked["id"], done.stdout)
        check_in("consumed", done.stdout)
        check_eq(verify(w, s.store()).returncode, 0)
        s.start()
        check_eq(s.ctl("audit", "verify").returncode, 0)
        check_eq(s.approval(asked["id"])["state"], "consumed")


def test_store_is_private(w):
    """Neither workers nor others may read or write the evidence."""
    st = os.stat(w.sluice.store())
    check_eq(oct(st.st_mode & 0o077), "0o0", "mode of store.db")
    check(st.st_uid != 0, "the store belongs to root, not to the recorder")


def test_status_counts_what_the_kernel_steered(w):
    w.agent.psql("SELECT 1", host="unknown.internal")
    status = w.sluice.status()
    check(status["counters"]["steered"] > 0, status["counters"])
    check_eq(len(status["policy"]["sha256"]), 64)
    op = w.sluice.events("op")[-1]
    check_eq(body(op)["verdict"]["policy"], status["policy"]["sha256"])
