"""A server of PostgreSQL's for one test, on loopback."""

import contextlib
import glob
import os
import shutil
import socket
import subprocess
import tempfile

import pytest


@contextlib.contextmanager
def server():
    """Its URL while it runs; the test is skipped where there is none."""
    pytest.importorskip("psycopg", reason="psycopg, SQLAlchemy's driver of PostgreSQL")
    tools = next(iter(sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)), None)
    if tools is None:
        pytest.skip("PostgreSQL's server is not installed: apt-get install postgresql")
    own = tempfile.mkdtemp(prefix="hyperjax-postgres-")  # of a short name, for its socket
    run = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []  # it refuses to run as root
    if run:
        shutil.chown(own, "postgres")
    data, port = f"{own}/data", free_port()
    try:
        subprocess.run(
            [*run, f"{tools}/initdb", "-D", data, "-A", "trust", "-U", "me"], check=True, capture_output=True
        )
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={own}"
        start = [*run, f"{tools}/pg_ctl", "-D", data, "-w", "-o", options, "-l", f"{own}/log", "start"]
        subprocess.run(start, check=True, stdout=subprocess.DEVNULL)
        try:
            yield f"postgresql+psycopg://me@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run([*run, f"{tools}/pg_ctl", "-D", data, "-m", "immediate", "stop"], stdout=subprocess.DEVNULL)
    finally:
        shutil.rmtree(own, ignore_errors=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
