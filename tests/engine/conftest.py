"""The file server of tests/net, for what fetches through it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

_FILE = Path(__file__).resolve().parent.parent / "net" / "file_server.py"


@pytest.fixture(scope="session")
def servers():
    name = "seedvr2_test_file_server"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, _FILE)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture
def server(servers):
    with servers.running() as running:
        yield running
