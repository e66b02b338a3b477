"""The agent's program: ordinary psycopg, no password, nothing about sluice in it."""

import psycopg

conn = psycopg.connect("host=db.internal dbname=customers user=agent")
conn.add_notice_handler(lambda n: print(f"NOTICE:  {n.message_primary}", flush=True))
cur = conn.execute("UPDATE customers SET email = %s WHERE id = %s", ("ada@new.example", 1))
conn.commit()
print(f"{cur.rowcount} row updated")
