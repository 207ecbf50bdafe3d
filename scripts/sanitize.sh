#!/bin/sh
# Builds the core with a sanitizer into build/KIND and runs the tests of kernels and engine on it.
#   scripts/sanitize.sh address|undefined|thread [what pytest is to run instead]
set -eu
cd "$(dirname "$0")/.."
kind=${1:?"usage: scripts/sanitize.sh address|undefined|thread [what pytest is to run instead]"}
shift
python=${PYTHON:-python}

# CC and CXX are setuptools' (CC="ccache gcc"). What did not change is not compiled again.
GLUONZIP_SANITIZE=$kind $python setup.py -q build --build-base "build/$kind" \
  --build-lib "build/$kind/lib" --build-temp "build/$kind/temp"

skip="not memory_of_a_process and not test_packing_memory"  # not ours alone here
case $kind in
  address) library=libasan.so ;;
  undefined) library=libubsan.so ;;
  thread)
    library=libtsan.so
    # It does not follow a fork() of several threads, nor how MXNet's own threads synchronize.
    skip="$skip and not forked and not test_engine_zoo"
    ;;
esac
# Python itself is not instrumented: the run time comes first, with the C++ library whose
# exceptions it intercepts. What Python leaks is its own affair.
preload="$(${CC:-gcc} -print-file-name=$library) $(${CC:-gcc} -print-file-name=libstdc++.so)"
root=$PWD
[ $# -gt 0 ] || set -- "$root/tests/kernels" "$root/tests/engine" "$root/tests/runtime"
cd "build/$kind"
# pytest keeps what a test prints: a report that ends the process would be lost with it.
rm -f report.*
trap 'cat report.* 2>/dev/null || :' EXIT
log=log_path=$PWD/report
LD_PRELOAD=$preload PYTHONPATH="$root/build/$kind/lib" PYTHONMALLOC=malloc \
  ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:quarantine_size_mb=64:$log \
  UBSAN_OPTIONS=print_stacktrace=1:$log TSAN_OPTIONS=halt_on_error=1:die_after_fork=0:$log \
  $python -m pytest -c "$root/pyproject.toml" --rootdir "$root" -p no:cacheprovider \
  -k "$skip" \
  "$@"
