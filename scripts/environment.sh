# Sourced by scripts/check and scripts/test. Leaves $python: an interpreter of .venv-test with everything installed.
# The environment is made anew when pyproject.toml or the interpreter changes.

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
cd -- "$root"

base_of_recent='import sys, venv; sys.version_info < (3, 11) and sys.exit(1); print(sys._base_executable)'

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3.11 python3.12 python3.13 python3 python; do
        # Asked for its base: in an active virtual environment the first one found may be the one that is made anew.
        if [ -n "$candidate" ] && "$candidate" -c "$base_of_recent" 2>/dev/null; then
            return
        fi
    done
    echo "No Python 3.11 or newer with the venv module was found. Install one, or name it: PYTHON=/path/to/python $0" >&2
    return 1
}

stamp_of() {
    "$1" - pyproject.toml <<'PYTHON'
import hashlib, pathlib, sys
print(sys.version.split()[0], sys.executable, hashlib.sha256(pathlib.Path(sys.argv[1]).read_bytes()).hexdigest())
PYTHON
}

base_python=$(find_python)
environment=$root/.venv-test
python=$environment/bin/python
stamp=$(stamp_of "$base_python")
if [ "$(cat -- "$environment/stamp" 2>/dev/null)" != "$stamp" ]; then
    echo "Making $environment with $base_python ..." >&2
    rm -rf -- "$environment"
    "$base_python" -m venv "$environment"
    # pip compiles on one core what this does on all of them.
    "$python" -m pip install --quiet --disable-pip-version-check --no-compile --editable '.[dev]'
    "$python" -m compileall -q -j 0 "$environment/lib" || true  # some packages hold files of other Pythons
    printf '%s\n' "$stamp" >"$environment/stamp"
fi
export PATH="$environment/bin:$PATH"
unset PYTHONDONTWRITEBYTECODE  # every process would compile everything again
