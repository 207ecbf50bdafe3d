"""Every name of GluonCV's zoo: built, traced, quantized, compiled, compared, timed; or why not.

    python scripts/zoo_coverage.py                        # what has no result yet; then the table
    python scripts/zoo_coverage.py --only 'ssd|yolo' --retry failed,differs
    python scripts/zoo_coverage.py --time                 # one network a family, at full size
    python scripts/zoo_coverage.py --quick --check        # one network a family, small

Weights and images are random (no network is needed, none is used). A network runs in a process of
its own, within --memory GB and --limit seconds; results are kept in --folder, one JSON file each,
and a second run goes on where the first stopped (in a new clone, where docs/zoo-coverage.json is).
Agreement is measured on small images: fp32 engine against MXNet, int8 engine against the
interpreter of its graph. --time alternates MXNet's dense network (fp32, hybridized, static) with
ours (int8), all cores each. Covers target T14. Needs ``pip install -e '.[zoo]'``.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))

import benchmark
import zoo_build
import zoo_report

DOCS = Path(__file__).parents[1] / "docs"
UNREACHABLE = "?"


def main() -> None:
    options = _options()
    options.folder.mkdir(parents=True, exist_ok=True)
    _seed(options)
    names = _chosen(options)
    if options.time:
        import zoo_timing

        for name in zoo_timing.chosen(names, options.all):
            _in_process(name, options, "time", zoo_timing.measure)
    elif not options.report:
        _run(names, options)
    rows = list(_results(options.folder).values())
    if not (options.quick or options.only):
        zoo_report.write(rows, _all_names(), DOCS / "zoo-coverage.md", options.table)
    print(zoo_report.summary(rows))
    checks = benchmark.Checks()
    zoo_report.check(rows, _all_names() if not options.quick else names, checks)
    benchmark.finish(options, {"networks": rows}, checks)


def _options() -> Any:
    parser = benchmark.parser(__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/zoo"), help="results, one a file")
    parser.add_argument("--table", type=Path, default=DOCS / "zoo-coverage.json")
    parser.add_argument("--only", default="", metavar="PATTERN", help="names that it is found in")
    parser.add_argument("--retry", default="", metavar="STATUS,...", help="run these again")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--limit", type=float, default=600, help="seconds for a network")
    parser.add_argument("--memory", type=float, default=12, help="GB for a network")
    parser.add_argument("--time", action="store_true", help="measure speed instead")
    parser.add_argument("--all", action="store_true", help="with --time: not one a family, but all")
    parser.add_argument("--report", action="store_true", help="only write the table again")
    return parser.parse_args()


def _all_names() -> list[str]:
    from gluoncv import model_zoo

    return list(model_zoo.get_model_list())


def _chosen(options: Any) -> list[str]:
    names = [name for name in _all_names() if re.search(options.only, name)]
    if options.quick:
        firsts = {zoo_build.entry(name).family: name for name in reversed(names)}
        names = [name for name in names if name in set(firsts.values())]
    return names


def _seed(options: Any) -> None:
    """What the table knows and the folder does not: a new clone goes on where the table stands."""
    rows = json.loads(options.table.read_text()) if options.table.exists() else []
    for row in rows:
        path = options.folder / f"{row['name']}.json"
        if not path.exists():
            path.write_text(json.dumps(row))


def _results(folder: Path) -> dict[str, dict[str, Any]]:
    rows = (json.loads(path.read_text()) for path in sorted(folder.glob("*.json")))
    return {row["name"]: row for row in rows}


# ---------------------------------------------------------------- processes
def _run(names: Iterable[str], options: Any) -> None:
    import zoo_measure

    known = _results(options.folder)
    again = {None, *options.retry.split(",")}  # None: broken off, or only timed
    todo = [n for n in names if known.get(n, {}).get("status") in again]
    running: dict[int, tuple[str, float]] = {}
    while todo or running:
        while todo and len(running) < options.jobs:
            name = todo.pop(0)
            running[_fork(name, options, zoo_measure.measure)] = name, time.monotonic()
        _reap(running, options)
        time.sleep(0.05)


def _in_process(name: str, options: Any, key: str, measure: Callable) -> None:
    running = {_fork(name, options, measure, key): (name, time.monotonic())}
    while running:
        _reap(running, options, key)
        time.sleep(0.05)


def _fork(name: str, options: Any, measure: Callable, key: str | None = None) -> int:
    """A child that writes what it finds into the network's file; its id.

    A fork, because importing MXNet and GluonCV takes longer than many a network.
    """
    import gluoncv  # noqa: F401 - once, for all children
    import mxnet  # noqa: F401

    path = options.folder / f"{name}.json"
    child = os.fork()
    if child:
        return child
    try:
        size = int(options.memory * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        measure(name, lambda row: _keep(path, row if key is None else _timed(name, row)))
    except BaseException:
        _keep(path, {"status": "failed", "reason": traceback.format_exc(limit=-1)[-400:]})
    finally:
        os._exit(0)


def _timed(name: str, times: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "family": zoo_build.entry(name).family, "time": times}


def _keep(path: Path, row: dict[str, Any]) -> None:
    """Timings join what is known of a network; a new measurement keeps the timings."""
    known = json.loads(path.read_text()) if path.exists() else {}
    row = (
        {**known, **row}
        if "time" in row
        else {**row, **{k: known[k] for k in ("time",) if k in known}}
    )
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(row))
    temporary.replace(path)


def _reap(running: dict[int, tuple[str, float]], options: Any, key: str | None = None) -> None:
    for child, (name, begin) in list(running.items()):
        late = time.monotonic() - begin > options.limit
        if late:
            os.kill(child, signal.SIGKILL)
        done, status = os.waitpid(child, 0 if late else os.WNOHANG)
        if not done:
            continue
        del running[child]
        path = options.folder / f"{name}.json"
        row = json.loads(path.read_text()) if path.exists() else {"name": name}
        if key is None and "status" not in row:
            ended = (
                f"longer than {options.limit:g} s" if late else f"ended by signal {status & 127}"
            )
            row |= {"status": "failed", "reason": f"{row.get('stage', 'start')}: {ended}"}
            path.write_text(json.dumps(row))
        print(zoo_report.line(row), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
