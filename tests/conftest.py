"""Load the pack the way ComfyUI does: by file location, under a package name, never through sys.path."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACK = "seedvr2_anywhere"
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # looked at when Triton is imported: kernels without a GPU


def _load_pack() -> None:
    spec = importlib.util.spec_from_file_location(PACK, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[PACK] = module
    spec.loader.exec_module(module)


if PACK not in sys.modules:
    _load_pack()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Small products gain little from more, and on a busy machine threads that wait for each other take minutes."""
    import torch  # the tests of media/ also run where it is not installed

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """One real ComfyUI for the tests of all rooms that ask for no other."""
    from seedvr2_anywhere.tests.nodes import real_server  # media/ is also tested where it cannot be imported

    with real_server.opened(tmp_path_factory) as found:
        yield found
