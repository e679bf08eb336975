"""`make lab [PORT=8890]`: opens JupyterLab on the course's first notebook and prints its address."""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from urllib.error import URLError
from urllib.request import urlopen

from tools.common import ROOT, choose_notebooks

HOST = "127.0.0.1"          # this machine only
FIRST_PORT = 8888


def is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
        if os.name != "nt":
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)     # a server that has just gone is no obstacle
        try:
            s.bind((HOST, port))
        except OSError:
            return False
    return True


def choose_port(given: str | None) -> int:
    """The port asked for, or an error if it is taken; without one, the first free port from 8888 on."""
    if given is None:
        free = next((port for port in range(FIRST_PORT, FIRST_PORT + 100) if is_free(port)), None)
        if free is None:
            sys.exit(f"No port from {FIRST_PORT} to {FIRST_PORT + 99} is free; choose one: make lab PORT=9999")
        return free
    if not given.isdecimal() or not 1 <= int(given) <= 65535:
        sys.exit(f"PORT={given}: a port is a number from 1 to 65535, such as {FIRST_PORT}.")
    if not is_free(int(given)):
        sys.exit(f"PORT={given} is taken by another program (or not yours to take). Choose another, or leave PORT out: "
                 "then the next free one is taken.")
    return int(given)


def server_command(port: int, page: str) -> list[str]:
    return [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={ROOT}", f"--ServerApp.ip={HOST}",
            f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--ServerApp.allow_root=True",
            "--ServerApp.answer_yes=True", f"--LabApp.default_url={page}", "--Application.log_level=ERROR",
            "--KernelManager.transport_encryption=auto",        # a kernel on a plain socket warns of it at every start
            "--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="make lab", description=__doc__)
    parser.add_argument("--port", help="the port to listen on; without it, the next free one from 8888 on")
    port = choose_port(parser.parse_args().port)

    # The token goes through the environment: other users of the machine could read it on the command line.
    token = os.environ.get("JUPYTER_TOKEN") or secrets.token_hex(24)
    env = {**os.environ, "JUPYTER_TOKEN": token, "JUPYTER_PREFER_ENV_PATH": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    env.pop("MPLBACKEND", None)
    notebooks = choose_notebooks(None)
    page = "/lab" + (f"/tree/notebooks/{notebooks[0].name}" if notebooks else "")

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = subprocess.Popen(server_command(port, page), cwd=ROOT, env=env)
    try:
        while server.poll() is None:
            try:
                urlopen(f"http://{HOST}:{port}/api", timeout=1).close()     # the one page that needs no token
                break
            except (URLError, OSError):
                time.sleep(0.2)
        else:
            print("JupyterLab did not start; its message stands above.", file=sys.stderr)
            return 1
        print(f"\nThe course is open at\n\n  http://{HOST}:{port}{page}?token={token}\n\n"
              "Stop it with Ctrl+C here. What you change in a notebook stays in your copy of it.", flush=True)
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        if server.poll() is None:
            server.terminate()
            try:
                server.wait(timeout=10)
            except subprocess.TimeoutExpired:
                server.kill()


if __name__ == "__main__":
    sys.exit(main())
