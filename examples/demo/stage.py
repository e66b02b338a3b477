#!/usr/bin/python3
"""Sets the demo's stage and clears it: PostgreSQL, a token issuer, and, when told, two containers.

Usage: stage.py DIR. Writes DIR/env for demo.sh to read. On SIGUSR1 it starts the containers and
writes DIR/containers; on SIGTERM it takes everything down.
"""

import os
import signal
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../tests/e2e"))
sys.dont_write_bytecode = True

from sluicetest import cleanup  # noqa: E402
from sluicetest.container import Container, Engine  # noqa: E402
from sluicetest.issuer import Issuer  # noqa: E402
from sluicetest.postgres import GATEWAY_PASSWORD, Postgres  # noqa: E402


STAGE_SIGNALS = {signal.SIGUSR1, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


def write(path, text, mode=0o644):
    with open(path + ".new", "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(path + ".new", mode)
    os.rename(path + ".new", path)


def main():
    folder = sys.argv[1]
    signal.pthread_sigmask(signal.SIG_BLOCK, STAGE_SIGNALS)
    cleanup.sweep()
    try:
        pg = Postgres()
        issuer = Issuer(os.path.join(folder, "issuer"))
        engine = Engine()
        write(os.path.join(folder, "password"), GATEWAY_PASSWORD + "\n", 0o600)
        with open(os.path.join(HERE, "sluice.yaml.in"), encoding="utf-8") as f:
            text = f.read()
        for key, value in (("DIR", folder), ("DEMO", HERE), ("PGPORT", str(pg.port)), ("PGDIR", pg.dir)):
            text = text.replace(f"@{key}@", value)
        write(os.path.join(folder, "sluice.yaml"), text)
        write(os.path.join(folder, "env"), f"PGPORT={pg.port}\nPGDIR={pg.dir}\n")
        while signal.sigwait(STAGE_SIGNALS) == signal.SIGUSR1:
            names = {}
            with open(os.path.join(HERE, "agent.py"), encoding="utf-8") as f:
                program = f.read()
            for key, token in (("GOOD", issuer.token()), ("EXPIRED", issuer.token(lifetime=-3600)),
                               ("FORGED", issuer.token(key=issuer.rogue, kid="es-1"))):
                c = Container(engine, "/sluice-demo", "support-agent", token=token,
                              hosts={"db.internal": "10.0.3.7"}, files={"agent.py": program})
                names[key] = c.id
            runc = " ".join(engine.runc())
            write(os.path.join(folder, "containers"),
                  f"RUNC='{runc}'\n" + "".join(f"{k}={v}\n" for k, v in names.items()))
    finally:
        cleanup.close_all()


if __name__ == "__main__":
    main()
