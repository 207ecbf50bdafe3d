"""Builds the C++ core: one extension, each kernel file compiled for its own instruction set.

A file called ``<isa>.cc`` under ``csrc/kernels`` gets that ISA's flags and is entered only after
the CPU was checked at run time; everything else is compiled for the platform's baseline. Never
``-march=native``: what is built here runs anywhere.
"""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent

AVX512 = ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mfma"]
ISA_FLAGS = {
    "avx2": ["-mavx2", "-mfma"],
    "avxvnni": ["-mavx2", "-mfma", "-mavxvnni"],
    "avx512bw": AVX512,
    "avx512vnni": [*AVX512, "-mavx512vnni"],
    "avx512vbmi2": [*AVX512, "-mavx512vnni", "-mavx512vbmi2", "-mpopcnt"],
}
VERSION = (ROOT / "gluonzip" / "_version.py").read_text().split('"')[1]
# Files that get flags of their own, by stem: those of an ISA, and the one that carries the version.
FILE_FLAGS = {**ISA_FLAGS, "module": [f'-DGLUONZIP_VERSION="{VERSION}"']}
# -ffp-contract=off: integer epilogues must round as the interpreter does; kernels that want a
# fused multiply-add say so with an intrinsic.
FLAGS = [
    "-std=c++17",
    "-O3",
    "-fvisibility=hidden",
    "-ffp-contract=off",
    "-pthread",
    "-Wall",
    "-Wextra",
    "-g0",  # Python's own flags say -g: 79 MB instead of 4; `build_ext --debug` brings it back
]
# For `make sanitize`: address, undefined or thread. Later flags win over the ones above.
SANITIZE = os.environ.get("GLUONZIP_SANITIZE", "")
SANITIZE_FLAGS = [
    f"-fsanitize={SANITIZE}",
    "-fno-sanitize-recover=all",
    "-fno-sanitize=vptr",  # pybind11's types are hidden, their vtables unknown to the run time
    "-fno-omit-frame-pointer",
    "-g1",  # lines are enough for a report; tracking variables takes the compiler minutes a kernel
    "-O1",
    "-Wno-maybe-uninitialized",  # false alarms in headers once the sanitizer is in between
]
if SANITIZE not in ("", "address", "undefined", "thread"):
    raise SystemExit(f"GLUONZIP_SANITIZE is {SANITIZE!r}, must be address, undefined or thread")
if SANITIZE:
    FLAGS += SANITIZE_FLAGS


def core() -> Extension:
    import pybind11

    sources = sorted(
        str(p.relative_to(ROOT)) for p in (ROOT / "csrc").rglob("*.cc") if "tests" not in p.parts
    )
    headers = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "csrc").rglob("*.h"))
    return Extension(
        "gluonzip._core",
        sources=sources,
        depends=[*headers, "gluonzip/_version.py"],
        include_dirs=["csrc", pybind11.get_include()],
        extra_compile_args=FLAGS,
        extra_link_args=["-pthread", *([f"-fsanitize={SANITIZE}"] if SANITIZE else [])],
        language="c++",
    )


class BuildExt(build_ext):
    """build_ext with flags by file name, in parallel, and clear messages when a tool is missing."""

    def build_extension(self, ext: Extension) -> None:
        compiler = self.compiler.compiler_so[0]
        if shutil.which(compiler) is None:
            raise SystemExit(
                f"gluonzip needs a C++17 compiler, and {compiler!r} is not on PATH. Install one "
                "(Debian, Ubuntu: apt-get install g++; Fedora: dnf install gcc-c++) or set CC, CXX."
            )
        self._check_python_headers()
        self._compile_by_name()
        if self.debug:
            ext.extra_compile_args = [*ext.extra_compile_args, "-g"]
        super().build_extension(ext)

    def _check_python_headers(self) -> None:
        for folder in self.compiler.include_dirs + self.include_dirs:
            if (Path(folder) / "Python.h").is_file():
                return
        raise SystemExit(
            "gluonzip needs Python's C headers, and Python.h is in none of "
            f"{self.include_dirs}. Install them (Debian/Ubuntu: apt-get install python3-dev)."
        )

    def _compile_by_name(self) -> None:
        compiler, plain = self.compiler, self.compiler._compile

        def compile_one(obj, src, ext, cc_args, extra_postargs, pp_opts):
            plain(
                obj, src, ext, cc_args, extra_postargs + FILE_FLAGS.get(Path(src).stem, []), pp_opts
            )

        def compile_in_parallel(
            sources,
            output_dir=None,
            macros=None,
            include_dirs=None,
            debug=0,
            extra_preargs=None,
            extra_postargs=None,
            depends=None,
        ):
            macros, objects, post, pp_opts, build = compiler._setup_compile(
                output_dir, macros, include_dirs, sources, depends, extra_postargs
            )
            cc_args = compiler._get_cc_args(pp_opts, debug, extra_preargs)
            jobs = [
                (obj, *build[obj])
                for obj in objects
                if obj in build and not self._fresh(obj, build[obj][0], depends or [])
            ]
            with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
                list(
                    pool.map(lambda j: compile_one(j[0], j[1], j[2], cc_args, post, pp_opts), jobs)
                )
            return objects

        compiler.compile = compile_in_parallel

    @staticmethod
    def _fresh(obj: str, source: str, headers: list[str]) -> bool:
        """Whether ``obj`` is newer than its source and every header (for developers' rebuilds)."""
        if not os.path.exists(obj):
            return False
        built = os.path.getmtime(obj)
        return all(os.path.getmtime(f) < built for f in [source, "setup.py", *headers])


setup(ext_modules=[core()], cmdclass={"build_ext": BuildExt})
