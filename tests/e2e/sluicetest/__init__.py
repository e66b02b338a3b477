"""Fixtures for the end-to-end tests: a PostgreSQL server, a token issuer, containers, sluiced itself.

Everything runs on loopback or inside network namespaces of its own, in temporary folders, and is gone
when its `close()` has returned. Standard library only, and psycopg inside the containers.
"""
