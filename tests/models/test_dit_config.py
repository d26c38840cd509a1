"""Key sets of the real models, sizes read off weights, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from seedvr2_anywhere.models import layers, load_dit
from seedvr2_anywhere.models.checkpoint import check_keys
from seedvr2_anywhere.models.config import expected_keys, infer_config
from seedvr2_anywhere.models.dit import NaDiT
from seedvr2_anywhere.models.errors import BadCheckpoint
from seedvr2_anywhere.tests.models.dit_toys import REAL, config, random_weights

pytestmark = pytest.mark.usefixtures("one_thread")

COUNTS = {"3b": (635, 3_391_475_776 + 672), "7b": (1128, 8_239_607_872 + 360)}  # tensors, values with rotary buffers
KEYS = {
    "3b": {
        "vid_in.proj.weight": (2560, 132),
        "emb_in.proj_out.bias": (15360,),
        "blocks.9.attn.proj_qkv.txt.weight": (7680, 2560),
        "blocks.10.mlp.all.proj_in_gate.weight": (6912, 2560),
        "blocks.31.ada.all.mlp_gate": (2560,),
        "blocks.31.attn.rope.rope.freqs": (21,),
        "vid_out_ada.out_shift": (2560,),
    },
    "7b": {
        "txt_in.weight": (3072, 5120),
        "blocks.35.mlp.txt.proj_in.bias": (12288,),
        "blocks.35.attn.norm_k.vid.weight": (128,),
        "blocks.0.attn.rope.rope.freqs": (10,),
        "vid_out.proj.bias": (64,),
    },
}
SMALLER = {
    "3b style": config("3b", width=128, layers=3, separate=1),
    "3b style, all separate": config("3b", width=256, layers=2, separate=2),
    "3b style, all shared": config("3b", width=128, layers=1, separate=0),
    "7b style": config("7b", width=384, layers=2, text_width=96),
    "narrow heads": config("3b", width=64, layers=2, heads=2, head_width=32, rotary_pairs=5, hidden=96, time_width=48),
    "inner wider than outer": config("7b", width=64, layers=1, heads=3, head_width=64, hidden=32),
}


@pytest.mark.parametrize("style", COUNTS)
def test_real_models_have_the_official_keys(style):
    keys = expected_keys(REAL[style])
    tensors, values = COUNTS[style]
    assert len(keys) == tensors
    assert sum(math.prod(shape) for shape in keys.values()) == values
    assert KEYS[style].items() <= keys.items()


@pytest.mark.parametrize("style", COUNTS)
def test_the_module_takes_exactly_the_official_keys(style):
    module = NaDiT(REAL[style], layers, "meta", torch.float32)
    held = {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}
    assert held == expected_keys(REAL[style])


@pytest.mark.parametrize("cfg", [*REAL.values(), *SMALLER.values()], ids=[*REAL, *SMALLER])
def test_sizes_are_read_off_the_weights_alone(cfg):
    assert infer_config(expected_keys(cfg), "test") == cfg


@pytest.mark.parametrize("cfg", SMALLER.values(), ids=SMALLER)
def test_smaller_models_load_from_a_state_dict_and_compute(cfg):
    module = load_dit(random_weights(cfg))
    with torch.inference_mode():
        found = module(torch.randn(1, 16, 2, 4, 6), torch.randn(1, 17, 2, 4, 6), torch.randn(5, cfg.text_width), 1000.0)
    assert found.shape == (1, 16, 2, 4, 6)
    assert found.isfinite().all()


def damaged(change) -> dict[str, torch.Tensor]:
    state = random_weights(config("3b", layers=2, separate=1))
    change(state)
    return state


def mix(state):
    state |= {key: value for key, value in random_weights(config("7b", layers=1)).items() if key.startswith("blocks.0")}


DAMAGE = {
    "missing": (
        lambda s: s.pop("blocks.1.attn.proj_out.all.bias"),
        r"1 missing \(blocks\.1\.attn\.proj_out\.all\.bias",
    ),
    "missing freqs": (lambda s: s.pop("blocks.1.attn.rope.rope.freqs"), r"1 missing \(blocks\.1\.attn\.rope"),
    "missing size giver": (lambda s: s.pop("txt_in.weight"), r"txt_in\.weight is missing"),
    "misshapen": (
        lambda s: s.update({"vid_out_norm.weight": torch.ones(255)}),
        r"1 misshapen \(vid_out_norm\.weight is \[255\], expected \[256\]\)",
    ),
    "unexpected": (lambda s: s.update(surprise=torch.ones(3)), r"1 unexpected \(surprise \[3\]\)"),
    "mixed 3b and 7b": (mix, r"(missing|unexpected|misshapen)"),
    "heads cut off": (
        lambda s: s.update({"blocks.0.attn.proj_qkv.vid.weight": torch.ones(100, 256)}),
        r"attn\.proj_qkv has 100 rows, expected a multiple of 3 × 128",
    ),
    "scalar instead of matrix": (
        lambda s: s.update({"txt_in.weight": torch.ones(())}),
        r"txt_in\.weight has shape \[\]",
    ),
    "other model": (lambda s: (s.clear(), s.update(a=torch.ones(1))), r"no SeedVR2 transformer.*such as a\."),
    "a VAE": (
        lambda s: (s.clear(), s.update({"decoder.up_blocks.2.upsamplers.0.upscale_conv.weight": torch.ones(1)})),
        r"is a video VAE",
    ),
    "nothing": (lambda s: s.clear(), r"found nothing"),
    "NaN": (
        lambda s: s["blocks.0.mlp.vid.proj_in.weight"][3, 5].fill_(math.nan),
        r"mlp\.vid\.proj_in\.weight holds NaN",
    ),
    "infinite bias": (lambda s: s["vid_in.proj.bias"][0].fill_(math.inf), r"vid_in\.proj\.bias holds NaN or infinite"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_weights_are_refused_by_name(case):
    change, message = DAMAGE[case]
    with pytest.raises(BadCheckpoint, match=message):
        load_dit(damaged(change))


def test_only_the_first_few_keys_are_named():
    expected = {f"layer.{i}": (2,) for i in range(10)}
    with pytest.raises(BadCheckpoint, match=r"^file\.safetensors .*10 missing \(layer\.0 \[2\], .* and 7 more\)"):
        check_keys({}, expected, "file.safetensors")
