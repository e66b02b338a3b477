"""One approval, one operation: bound to what was shown, once, in time, by somebody who may."""

import os
import re
import signal
import time

from sluicetest.sluice import APPROVERS, body
from sluicetest.util import check, check_eq, check_in, check_not_in, wait_until


def ask(w, sql="UPDATE customers SET balance = balance + 1 WHERE id = 5", container=None):
    return (container or w.agent).popen(["psql", "-X", "-v", "VERBOSITY=verbose", "-h", "db.internal", "-U", "x",
                                         "customers", "-c", sql])


def balance(w):
    return w.pg.sql("SELECT balance FROM customers WHERE id = 5")


def test_deny(w):
    before = balance(w)
    p = ask(w)
    asked = w.sluice.pending("balance + 1")
    w.sluice.ctl("approvals", "deny", asked["id"], "--reason", "not today")
    out, _ = p.communicate(timeout=15)
    check(p.returncode != 0, out)
    check_in("42501", out)
    check_in("not today", out)
    check_eq(balance(w), before)
    check_eq(w.sluice.approval(asked["id"])["state"], "denied")


def test_show_says_everything(w):
    p = ask(w)
    asked = w.sluice.pending("balance + 1")
    shown = w.sluice.ctl("approvals", "show", asked["id"]).stdout
    for text in ("UPDATE customers SET balance = balance + 1 WHERE id = 5", "support-agent", "customers-db",
                 "changes need a person"):
        check_in(text, shown)
    listed = w.sluice.ctl("approvals", "list").stdout
    check_in(asked["id"], listed)
    w.sluice.ctl("approvals", "deny", asked["id"])
    p.communicate(timeout=15)


def test_expires(w):
    """Nobody answers: refused when the wait is over."""
    with w.container("hasty-agent") as c:
        begin = time.monotonic()
        done = c.psql("UPDATE customers SET balance = 0 WHERE id = 5", "-v", "VERBOSITY=verbose")
        took = time.monotonic() - begin
    check(done.returncode != 0)
    check_in("57014", done.out)
    check_in("not given in time", done.out)
    check(1.5 < took < 8, took)
    check(any(a["state"] in ("expired", "withdrawn") and "balance = 0" in str(a) for a in w.sluice.approvals()))
    late = [a for a in w.sluice.approvals() if "balance = 0" in str(a)][0]
    check(w.sluice.ctl("approvals", "approve", late["id"], check_rc=False).returncode == 1)


def test_withdrawn_when_the_client_is_killed(w):
    before = balance(w)
    p = ask(w)
    asked = w.sluice.pending("balance + 1")
    os.kill(p.host_pid, signal.SIGKILL)
    p.wait(10)
    wait_until(lambda: w.sluice.approval(asked["id"])["state"] == "withdrawn", 10, "withdrawal")
    check(w.sluice.ctl("approvals", "approve", asked["id"], check_rc=False).returncode == 1)
    time.sleep(0.3)
    check_eq(balance(w), before)


def test_cancelled_by_the_client(w):
    """Ctrl-C while held: the operation is withdrawn, the connection lives."""
    before = balance(w)
    p = ask(w)
    asked = w.sluice.pending("balance + 1")
    os.kill(p.host_pid, signal.SIGINT)
    out, _ = p.communicate(timeout=15)
    check_in("57014", out)
    wait_until(lambda: w.sluice.approval(asked["id"])["state"] == "withdrawn", 10, "withdrawal")
    check_eq(balance(w), before)


def test_twice_is_once(w):
    before = float(balance(w))
    p = ask(w)
    asked = w.sluice.pending("balance + 1")
    said = w.sluice.ctl("approvals", "approve", asked["id"]).stdout
    check(said.rstrip().endswith(f"{asked['id']} approved by {APPROVERS[0]['name']}"), said)
    check_in("balance + 1", said)
    check_not_in("pending", said)
    second = w.sluice.ctl("approvals", "approve", asked["id"], check_rc=False)
    check_eq(second.returncode, 1)
    p.communicate(timeout=15)
    check_eq(float(balance(w)), before + 1)
    # The same statement again asks again.
    p = ask(w)
    again = w.sluice.pending("balance + 1")
    check(again["id"] != asked["id"])
    check(again["digest"] != asked["digest"])
    w.sluice.ctl("approvals", "deny", again["id"])
    p.communicate(timeout=15)
    check_eq(float(balance(w)), before + 1)


def test_unauthorised_people(w):
    p = ask(w)
    asked = w.sluice.pending("balance + 1")
    for user in ("games", "nobody", "daemon"):
        done = w.sluice.ctl("approvals", "approve", asked["id"], check_rc=False, user=user)
        check(done.returncode in (1, 2), user, done.stdout, done.stderr)
    check_eq(w.sluice.approval(asked["id"])["state"], "pending")
    w.sluice.ctl("approvals", "deny", asked["id"])
    p.communicate(timeout=15)


def test_wrong_digest(w):
    """An approver who saw something else than what would run approves nothing."""
    p = ask(w)
    asked = w.sluice.pending("balance + 1")
    wrong = ("0" if asked["digest"][0] != "0" else "1") + asked["digest"][1:]
    done = w.sluice.ctl("approvals", "approve", asked["id"], "--digest", wrong, check_rc=False)
    check_eq(done.returncode, 1)
    check_eq(w.sluice.approval(asked["id"])["state"], "pending")
    before = float(balance(w))
    w.sluice.ctl("approvals", "approve", asked["id"], "--digest", asked["digest"])
    p.communicate(timeout=15)
    check_eq(float(balance(w)), before + 1)


def test_a_governed_process_cannot_approve(w):
    """Not even as root, with the socket before it."""
    p = ask(w)
    asked = w.sluice.pending("balance + 1")
    done = w.sluice.ctl("run", "--workload", "open-agent", "--net", "host", "--",
                        *w.sluice.ctl_args("approvals", "approve", asked["id"]), check_rc=False)
    check(done.returncode != 0, done.stdout, done.stderr)
    check_eq(w.sluice.approval(asked["id"])["state"], "pending")
    w.sluice.ctl("approvals", "deny", asked["id"])
    p.communicate(timeout=15)


def test_bind_values_are_part_of_what_is_approved(w):
    p = w.agent.popen_python("""
import psycopg
c = psycopg.connect("host=db.internal dbname=customers")
c.add_notice_handler(lambda d: print(d.message_primary, flush=True))
cur = c.execute("UPDATE customers SET balance = %s WHERE id = %s", ("4242.5", 5))
print(cur.rowcount); c.rollback()
""")
    asked = w.sluice.pending("balance = $1")
    check_in("4242.5", w.sluice.ctl("approvals", "show", asked["id"]).stdout)
    w.sluice.ctl("approvals", "approve", asked["id"])
    out, _ = p.communicate(timeout=15)
    check_in("\n1\n", out)
    check_in(asked["id"], out)


def test_binary_bind_values_are_shown_as_people_read_them(w):
    p = w.agent.popen_python("""
import psycopg
c = psycopg.connect("host=db.internal dbname=customers")
c.add_notice_handler(lambda d: print(d.message_primary, flush=True))
cur = c.execute("UPDATE customers SET balance = balance + %b, name = coalesce(%b, name) WHERE id = %b",
                (4096.5, None, 5))
print(cur.rowcount); c.rollback()
""")
    asked = w.sluice.pending("coalesce($2")
    shown = w.sluice.ctl("approvals", "show", asked["id"]).stdout
    for line in (r"\$1 +4096\.5 \(float8\)", r"\$2 +NULL", r"\$3 +5 \(int2\)"):
        check(re.search(line, shown), shown)
    w.sluice.ctl("approvals", "approve", asked["id"])
    p.communicate(timeout=15)
    check_in("$3=5 (int2)", w.sluice.ctl("audit", "search").stdout)


def test_held_in_a_transaction_and_others_go_on(w):
    """While one session is held, others of the same worker are served."""
    p = ask(w, "BEGIN; UPDATE customers SET balance = balance + 1 WHERE id = 5; ROLLBACK")
    asked = w.sluice.pending("balance + 1")
    begin = time.monotonic()
    for _ in range(4):
        check_in("50", w.agent.psql("SELECT count(*) FROM orders", "-At").out)
    check(time.monotonic() - begin < 5, "others waited")
    w.sluice.ctl("approvals", "approve", asked["id"])
    out, _ = p.communicate(timeout=15)
    check_in("ROLLBACK", out)


def test_approval_is_recorded_with_who_and_when(w):
    p = ask(w)
    asked = w.sluice.pending("balance + 1")
    w.sluice.ctl("approvals", "approve", asked["id"], "--reason", "ticket 77")
    p.communicate(timeout=15)
    events = w.sluice.events("approval", lambda e: asked["id"] in str(e), at_least=3)
    text = str(events)
    for word in ("ann", "ticket 77", asked["digest"], "approved", "consumed"):
        check_in(word, text)
    op = w.sluice.ops("balance + 1")[-1]
    check_eq(body(op)["verdict"]["effect"], "approve")


def test_approvals_survive_a_restart_but_do_not_run(w):
    """sluiced ends while an operation is held: the agent gets an error, the approval is no longer open."""
    with w.new_sluice() as s, w.container(sluice=s) as c:
        before = balance(w)
        p = ask(w, container=c)
        asked = s.pending("balance + 1")
        s.stop()
        out, _ = p.communicate(timeout=15)
        check(p.returncode != 0, out)
        s.start()
        check(s.approval(asked["id"])["state"] in ("withdrawn", "expired", "lapsed"), s.approval(asked["id"]))
        check_eq(balance(w), before)
        check_in("50", c.psql("SELECT count(*) FROM orders", "-At").out)


def test_select_can_need_approval_too(w):
    with w.container("hasty-agent") as c:
        p = ask(w, "SELECT name FROM customers WHERE id = 1", container=c)
        asked = w.sluice.pending("SELECT name FROM customers WHERE id = 1")
        w.sluice.ctl("approvals", "approve", asked["id"])
        out, _ = p.communicate(timeout=15)
        check_in("Ada Lovelace", out)
        check_not_in("ERROR", out)
