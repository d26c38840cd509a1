"""Containers: what is opened, how it is understood, and what is refused with which words."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from seedvr2_anywhere.models import load_dit
from seedvr2_anywhere.models.checkpoint import FLOAT8_FIRST_BAD, is_finite, open_state_dict
from seedvr2_anywhere.models.errors import BadCheckpoint, UnsupportedCheckpoint
from seedvr2_anywhere.models.text import read_text_conditioning
from seedvr2_anywhere.tests.models.dit_toys import config, inputs, random_weights

pytestmark = pytest.mark.usefixtures("one_thread")

TOY = config("3b", width=128, layers=2, separate=1)
CONDITIONING = {"positive_conditioning": (58, 64), "negative_conditioning": (64, 64)}


def velocity(module) -> torch.Tensor:
    with torch.inference_mode():
        return module(*inputs(TOY, (2, 6, 8)), 1000.0)


def rounded(state, dtype, keep=()):
    """The weights as a file in `dtype` would give them back, in float32; freqs are exact in any case."""
    return {
        key: tensor if key.endswith("freqs") or key.startswith(keep) else tensor.to(dtype).float()
        for key, tensor in state.items()
    }


def stored(state, dtype, keep=()):
    """The weights as a file keeps them: all of them in `dtype`, rotary frequencies too; `keep` stays float16."""
    return {key: tensor.to(torch.float16 if key.startswith(keep) else dtype) for key, tensor in state.items()}


def prefixed(state):
    return {f"model.diffusion_model.{key}": tensor for key, tensor in state.items()}


def with_conditioning(state):
    extra = {key: torch.randn(shape).bfloat16() for key, shape in CONDITIONING.items()}
    return state | extra


LAST = ("blocks.1.",)
FLOAT8 = torch.float8_e4m3fn
# name → (what the file holds, the float32 weights it stands for)
CONTAINERS = {
    "float32": (lambda s: s, lambda s: s),
    "numz fp16": (lambda s: stored(s, torch.float16), lambda s: rounded(s, torch.float16)),
    "bf16": (lambda s: stored(s, torch.bfloat16), lambda s: rounded(s, torch.bfloat16)),
    "numz fp8": (lambda s: stored(s, FLOAT8), lambda s: rounded(s, FLOAT8)),
    "fp8, last block fp16": (
        lambda s: stored(s, FLOAT8, keep=LAST),
        lambda s: rounded(s, FLOAT8, keep=LAST)
        | rounded({k: v for k, v in s.items() if k.startswith(LAST)}, torch.float16),
    ),
    "Comfy-Org fp16": (lambda s: with_conditioning(stored(s, torch.float16)), lambda s: rounded(s, torch.float16)),
    "Comfy-Org fp8, prefixed": (
        lambda s: prefixed(with_conditioning(stored(s, FLOAT8))),
        lambda s: rounded(s, FLOAT8),
    ),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_containers_give_the_weights_they_stand_for(container, tmp_path):
    held, meant = CONTAINERS[container]
    state = random_weights(TOY)
    save_file(held(state), tmp_path / "weights.safetensors")
    found = velocity(load_dit(tmp_path / "weights.safetensors"))
    torch.testing.assert_close(found, velocity(load_dit(meant(state))), rtol=0, atol=1e-5)


def test_the_official_pth_loads_as_tensors_alone(tmp_path):
    state = random_weights(TOY)
    torch.save(state, tmp_path / "seedvr2_ema_3b.pth")
    assert velocity(load_dit(tmp_path / "seedvr2_ema_3b.pth")).equal(velocity(load_dit(state)))
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert velocity(load_dit(tmp_path / "old.pth")).equal(velocity(load_dit(state)))


class Surprise:
    """Something a pickle could run."""


REFUSED_PTH = {
    "an object": {"a": Surprise()},
    "a number": {"a": torch.ones(1), "b": 3},
    "a nested dict": {"state_dict": {"a": torch.ones(1)}},
    "a list": [torch.ones(1)],
}


@pytest.mark.parametrize("content", REFUSED_PTH.values(), ids=REFUSED_PTH)
def test_a_pth_with_more_than_tensors_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "model.pth")
    with pytest.raises(BadCheckpoint, match=r"model\.pth.* tensors"):
        load_dit(tmp_path / "model.pth")


def test_weights_are_views_of_the_file(tmp_path):
    save_file(stored(random_weights(TOY), torch.float16), tmp_path / "weights.safetensors")
    state, name = open_state_dict(tmp_path / "weights.safetensors")
    module = load_dit(state)
    assert name.endswith("weights.safetensors")
    for key, weight in module.named_parameters():
        assert weight.dtype == torch.float16
        assert weight.data_ptr() == state[key].data_ptr(), f"{key} was copied"


def test_rotary_frequencies_never_come_from_the_file():
    state = random_weights(TOY)
    clean = velocity(load_dit(state))
    ruined = {key: tensor * torch.nan if key.endswith("freqs") else tensor for key, tensor in state.items()}
    module = load_dit(ruined)
    assert velocity(module).equal(clean)
    assert module.state_dict()["blocks.0.attn.rope.rope.freqs"].equal(state["blocks.0.attn.rope.rope.freqs"])


def test_conditioning_is_read_where_it_is_embedded(tmp_path):
    state = with_conditioning(random_weights(TOY))
    save_file(prefixed(state), tmp_path / "with.safetensors")
    text = read_text_conditioning(tmp_path / "with.safetensors")
    assert text.positive.equal(state["positive_conditioning"])
    assert text.negative.equal(state["negative_conditioning"])
    assert read_text_conditioning(random_weights(TOY)) is None
    torch.save(state["positive_conditioning"], tmp_path / "pos_emb.pt")
    assert read_text_conditioning(tmp_path / "pos_emb.pt").positive.equal(text.positive)
    with pytest.raises(BadCheckpoint, match=r"positive conditioning has shape \[3\]"):
        read_text_conditioning({"positive_conditioning": torch.ones(3)})


def write(path, content: bytes):
    path.write_bytes(content)
    return path


def cut_file(folder, kept: float):
    save_file(random_weights(TOY), folder / "whole.safetensors")
    content = (folder / "whole.safetensors").read_bytes()
    return write(folder / "cut.safetensors", content[: int(len(content) * kept)])


BROKEN_FILES = {
    "gguf 3b": (
        lambda f: write(f / "seedvr2_ema_3b-Q4_K_M.gguf", b"GGUF" + bytes(60)),
        UnsupportedCheckpoint,
        "3b-Q4_K_M.gguf is a GGUF file.*seedvr2_ema_3b_fp16.safetensors",
    ),
    "gguf under another name": (
        lambda f: write(f / "seedvr2_ema_7b_sharp.safetensors", b"GGUF" + bytes(60)),
        UnsupportedCheckpoint,
        "is a GGUF file.*seedvr2_ema_7b_sharp_fp16.safetensors",
    ),
    "no such file": (
        lambda f: f / "absent.safetensors",
        BadCheckpoint,
        "absent.safetensors cannot be read: No such file",
    ),
    "a folder": (lambda f: f, BadCheckpoint, "cannot be read"),
    "empty": (lambda f: write(f / "empty.safetensors", b""), BadCheckpoint, "empty.safetensors is no weights file"),
    "text": (
        lambda f: write(f / "page.safetensors", b"<html>" * 99),
        BadCheckpoint,
        "page.safetensors is no weights file",
    ),
    "cut in the data": (lambda f: cut_file(f, 0.7), BadCheckpoint, "cut.safetensors .*is cut short or damaged"),
    "cut in the header": (lambda f: cut_file(f, 0.001), BadCheckpoint, "cut.safetensors .*is cut short or damaged"),
    "pth cut short": (lambda f: write(f / "cut.pth", b"PK\x03\x04" + bytes(99)), BadCheckpoint, "cut.pth is damaged"),
}


@pytest.mark.parametrize("case", BROKEN_FILES)
def test_broken_files_are_refused_by_name(case, tmp_path):
    make, error, message = BROKEN_FILES[case]
    with pytest.raises(error, match=message):
        load_dit(make(tmp_path))


@pytest.mark.parametrize("dtype", FLOAT8_FIRST_BAD, ids=str)
def test_every_bad_float8_is_found(dtype):
    every = torch.arange(256, dtype=torch.uint8).view(dtype)
    bad = [code for code in range(256) if not is_finite(every[code : code + 1])]
    assert bad == every.float().isfinite().logical_not().nonzero().flatten().tolist()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_one_bad_value_is_found_anywhere(dtype, value):
    for place in (0, 517, 1022):
        tensor = torch.randn(1023, dtype=dtype)
        assert is_finite(tensor)
        tensor[place] = value
        assert not is_finite(tensor)
