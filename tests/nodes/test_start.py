"""ComfyUI starts as fast with this pack as without: nothing is fetched, no model is read."""

from __future__ import annotations

import json

import pytest

MOST_SECONDS = 0.5  # of processor time
MODELS = (".safetensors", ".gguf", ".pt", ".pth", ".ckpt", ".bin")


@pytest.fixture(scope="module")
def start(server):
    """What the code of the pack did until the server listened."""
    found = json.loads((server.base / "custom_nodes" / "start_probe" / "seen.json").read_text())
    assert len(found["seen"]["open"]) > 50, "the probe saw nothing"
    return found


def test_nothing_is_fetched_and_no_program_is_run(start):
    assert (
        start["seen"]["socket.connect"] + start["seen"]["socket.getaddrinfo"] + start["seen"]["subprocess.Popen"] == []
    )


def test_no_model_is_read(start):
    assert [path for path in start["seen"]["open"] if path.endswith(MODELS)] == []


def test_it_takes_no_more_than_half_a_second(start):
    print(f"the pack's part of ComfyUI's start: {start['seconds']:.2f} s of processor time")
    assert start["seconds"] <= MOST_SECONDS
