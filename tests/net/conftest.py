"""The file server as a fixture, and `servers`, the module of its behaviours."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

_HERE = Path(__file__).resolve().parent


def _module():
    name = "seedvr2_test_file_server"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, _HERE / "file_server.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def servers():
    return _module()


@pytest.fixture
def server(servers):
    with servers.running() as running:
        yield running
