"""A second real ComfyUI, whose RunComfy is played by a test service; the first one is in tests/conftest.py."""

from __future__ import annotations

import pytest
from seedvr2_anywhere.tests.nodes import hosted_desk


@pytest.fixture(scope="session")
def hosted(tmp_path_factory):
    """ComfyUI with a test service in RunComfy's place, stopped at the end."""
    with hosted_desk.opened(tmp_path_factory.mktemp("hosted")) as found:
        yield found


@pytest.fixture
def desk(hosted):
    """The same, with a token and a service that remembers nothing."""
    hosted.forget()
    hosted.save_token()
    return hosted
