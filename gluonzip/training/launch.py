"""Starts a cluster on this machine: ``python -m gluonzip.training.launch --workers 2 train.py``.

MXNet's own ``tools/launch.py`` does not run on Python 3.9 and later. One scheduler, ``--servers``
servers and ``--workers`` workers are started; the first process that fails ends all others. For
several machines see docs/distributed.md: the same environment variables, set on each.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

_IDLE = "import mxnet"
"""A scheduler or server works while this is imported, and then exits."""


def environment(role: str, address: str, port: int, workers: int, servers: int) -> dict[str, str]:
    """The variables that make a process scheduler, server or worker."""
    return {
        "DMLC_ROLE": role,
        "DMLC_PS_ROOT_URI": address,
        "DMLC_PS_ROOT_PORT": str(port),
        "DMLC_NUM_WORKER": str(workers),
        "DMLC_NUM_SERVER": str(servers),
    }


def launch(
    command: Sequence[str],
    workers: int,
    servers: int = 1,
    variables: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> int:
    """Run ``command`` as each of ``workers``; returns the first exit status that is not 0, or 0.

    ``variables``: of the environment, besides. After ``timeout`` seconds everything is stopped
    (status 124).
    """
    port, address = _free_port(), "127.0.0.1"
    base = {**os.environ, "DMLC_NODE_HOST": address, **(variables or {})}
    roles = [("scheduler", 1), ("server", servers), ("worker", workers)]
    processes: list[tuple[str, subprocess.Popen]] = []
    try:
        for role, count in roles:
            own = {**base, **environment(role, address, port, workers, servers)}
            arguments = list(command) if role == "worker" else [sys.executable, "-c", _IDLE]
            for _ in range(count):
                processes.append((role, subprocess.Popen(arguments, env=own)))
        return _wait(processes, timeout)
    finally:
        for _, process in processes:
            if process.poll() is None:
                process.kill()
            process.wait()


def _wait(processes: Sequence[tuple[str, subprocess.Popen]], timeout: float | None) -> int:
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        states = [(role, process.poll()) for role, process in processes]
        failed = [state for _, state in states if state]
        if failed:
            return failed[0]
        if all(state == 0 for role, state in states if role == "worker"):
            return 0
        if end is not None and time.monotonic() > end:
            return 124
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m gluonzip.training.launch", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--servers", type=int, default=1)
    parser.add_argument("command", nargs=argparse.REMAINDER, help="a script and its arguments")
    options = parser.parse_args()
    if not options.command or min(options.workers, options.servers) < 1:
        parser.error("needs a script, and at least one worker and one server")
    command = options.command
    command = [sys.executable, *command] if command[0].endswith(".py") else command
    sys.exit(launch(command, options.workers, options.servers))


if __name__ == "__main__":
    main()
