"""Quantised checkpoints: through ComfyUI's ops, and without ComfyUI, against their dequantised twins."""

from __future__ import annotations

import json
import math

import pytest
import torch
from safetensors.torch import save_file
from seedvr2_anywhere.models import load_dit
from seedvr2_anywhere.models.errors import BadCheckpoint, UnsupportedCheckpoint
from seedvr2_anywhere.models.formats import encode_mark, modernize
from seedvr2_anywhere.models.quantized import hadamard
from seedvr2_anywhere.tests.models.dit_toys import comfy, config, inputs, random_weights
from seedvr2_anywhere.tests.models.quantized_toys import KINDS, is_block_matrix, quantize

pytestmark = pytest.mark.usefixtures("one_thread")

TOY = config("3b", layers=2, separate=1)
ROUNDING = 0.5 / 127  # of an int8 value, relative to the largest of its row


def velocity(module) -> torch.Tensor:
    with torch.inference_mode():
        return module(*inputs(TOY, (2, 12, 14)), 1000.0)


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found - expected).square().mean().sqrt() / expected.std()).item()


@pytest.mark.comfy
@pytest.mark.parametrize("kind", KINDS)
def test_without_comfyui_a_quantised_file_equals_its_twin(kind):
    packed, twin = quantize(random_weights(TOY), kind)
    expected = velocity(load_dit(twin))
    torch.testing.assert_close(velocity(load_dit(packed)), expected, rtol=0, atol=2e-5)


@pytest.mark.comfy
@pytest.mark.parametrize("kind", KINDS)
def test_through_comfyui_ops_a_quantised_file_stays_near_its_twin(kind):
    packed, twin = quantize(random_weights(TOY), kind)
    disabled = {"nvfp4", "mxfp8", "float8_e4m3fn", "float8_e5m2"}  # what a CPU computes on dequantised weights
    operations = comfy().ops.mixed_precision_ops({}, torch.float32, disabled=disabled)
    module = load_dit(packed, operations=operations, dtype=torch.float32)
    assert not any(weight.is_meta for weight in [*module.parameters(), *module.buffers()])
    assert isinstance(module.blocks[0].attn.proj_qkv["vid"].weight, comfy().quant_ops.QuantizedTensor)
    # int8 also rounds the inputs of eight products, one after another
    allowed = math.sqrt(8) * 2 * ROUNDING if "int8" in kind else 1e-5
    assert relative(velocity(module), velocity(load_dit(twin))) <= allowed


@pytest.mark.comfy
@pytest.mark.parametrize("memory", [0, 1], ids=["whole model", "low memory"])
def test_comfyui_patcher_can_move_and_patch_every_weight(memory):
    state = random_weights(TOY)
    module = load_dit(state, operations=comfy().ops.manual_cast, dtype=torch.float32)
    before = velocity(module)
    module.model_lowvram, module.lowvram_patch_counter, module.device = False, 0, torch.device("cpu")
    module.model_loaded_weight_memory = 0
    patcher = comfy().patcher.ModelPatcher(module, torch.device("cpu"), torch.device("cpu"))
    keys = ["blocks.1.attn.proj_qkv.all.weight", "emb_in.proj_out.weight", "txt_in.bias"]
    keys += [] if memory else ["blocks.0.ada.vid.attn_scale"]
    patcher.add_patches({key: ("diff", (torch.full_like(state[key], 0.05),)) for key in keys})
    patcher.patch_model(torch.device("cpu"), lowvram_model_memory=memory)
    patched = velocity(module)
    patcher.unpatch_model(torch.device("cpu"))
    changed = state | {key: state[key] + 0.05 for key in keys}
    torch.testing.assert_close(patched, velocity(load_dit(changed)), rtol=0, atol=2e-5)
    torch.testing.assert_close(velocity(module), before, rtol=0, atol=1e-6)


@pytest.mark.comfy
@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16, torch.float8_e4m3fn], ids=str)
def test_comfyui_casting_ops_give_what_plain_layers_give(stored):
    state = {key: tensor.to(stored) for key, tensor in random_weights(TOY).items()}
    module = load_dit(state, operations=comfy().ops.manual_cast, dtype=torch.float32)
    assert module.blocks[0].attn.proj_qkv["vid"].weight.dtype == stored
    assert module.vid_in["proj"].bias.dtype == (torch.float32 if stored == torch.float8_e4m3fn else stored)
    torch.testing.assert_close(velocity(module), velocity(load_dit(state)), rtol=0, atol=2e-5)


@pytest.mark.comfy
def test_operations_that_cannot_read_a_quantised_file_are_named():
    packed, _ = quantize(random_weights(TOY), "int8")
    with pytest.raises(UnsupportedCheckpoint, match="given operations cannot read it"):
        load_dit(packed, operations=comfy().ops.manual_cast, dtype=torch.float32)


def test_hadamard_is_orthonormal_and_symmetric():
    for size in (4, 16, 256):
        turn = hadamard(size)
        torch.testing.assert_close(turn @ turn.t(), torch.eye(size))
        assert turn.equal(turn.t())


def test_legacy_scaled_float8_equals_its_twin():
    state = random_weights(TOY)
    packed, twin = {"scaled_fp8": torch.zeros(2, dtype=torch.float8_e4m3fn)}, dict(state)
    for key, tensor in state.items():
        if is_block_matrix(key):
            scale = tensor.abs().max() / 448
            small = (tensor / scale).to(torch.float8_e4m3fn)
            packed[key.removesuffix("weight") + "scale_weight"] = scale
            packed[key.removesuffix("weight") + "scale_input"] = torch.ones(())
            tensor, twin[key] = small, small.float() * scale
        packed[key] = tensor
    assert "blocks.0.attn.proj_qkv.vid.weight_scale" in modernize(packed)
    torch.testing.assert_close(velocity(load_dit(packed)), velocity(load_dit(twin)), rtol=0, atol=2e-5)


@pytest.mark.comfy
def test_marks_may_stand_in_the_header(tmp_path):
    packed, twin = quantize(random_weights(TOY), "int8")
    layers = {key.removesuffix(".comfy_quant"): KINDS["int8"][0] for key in packed if key.endswith(".comfy_quant")}
    plain = {f"model.diffusion_model.{k}": v for k, v in packed.items() if not k.endswith(".comfy_quant")}
    named = {f"model.diffusion_model.{layer}": mark for layer, mark in layers.items()}
    header = {"_quantization_metadata": json.dumps({"layers": named})}
    save_file(plain, tmp_path / "int8.safetensors", header)
    found = velocity(load_dit(tmp_path / "int8.safetensors"))
    torch.testing.assert_close(found, velocity(load_dit(twin)), rtol=0, atol=2e-5)
    save_file(plain, tmp_path / "bad.safetensors", {"_quantization_metadata": "[]"})
    with pytest.raises(BadCheckpoint, match=r"bad\.safetensors: _quantization_metadata"):
        load_dit(tmp_path / "bad.safetensors")


LAYER = "blocks.0.attn.proj_qkv.vid"
BROKEN_MARKS = {
    "no json": (torch.tensor([1, 2, 3], dtype=torch.uint8), BadCheckpoint, "no readable description"),
    "no object": (encode_mark([1]), BadCheckpoint, "no readable description"),
    "unknown": (
        encode_mark({"format": "int3"}),
        BadCheckpoint,
        "names the format 'int3', expected one of float8_e4m3fn",
    ),
    "no scale": (encode_mark({"format": "mxfp8"}), BadCheckpoint, f"mxfp8, but {LAYER}.weight_scale is missing"),
}


@pytest.mark.parametrize("case", BROKEN_MARKS)
def test_broken_descriptions_are_refused(case):
    mark, error, message = BROKEN_MARKS[case]
    with pytest.raises(error, match=message):
        load_dit(random_weights(TOY) | {f"{LAYER}.comfy_quant": mark})


def test_a_format_only_comfyui_can_compute_is_refused_by_name():
    state = random_weights(TOY)
    packed = torch.zeros(state[f"{LAYER}.weight"].shape[0], TOY.width // 2, dtype=torch.int8)
    state |= {f"{LAYER}.weight": packed, f"{LAYER}.weight_scale": torch.ones(1)}
    state |= {f"{LAYER}.comfy_quant": encode_mark({"format": "convrot_w4a4"})}
    with pytest.raises(UnsupportedCheckpoint, match=f"{LAYER} is quantised as convrot_w4a4, which works only inside"):
        load_dit(state)
