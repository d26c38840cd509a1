"""The transformer as a whole: golden vectors, rules whose breaking must show, batches, chunks, caches, bad input."""

from __future__ import annotations

import math

import pytest
import torch
from seedvr2_anywhere.models import attention, load_dit
from seedvr2_anywhere.models.dit import patchify, unpatchify
from seedvr2_anywhere.models.dit_memory import scratch_per_token
from seedvr2_anywhere.models.errors import BadInput
from seedvr2_anywhere.models.windows import arrange
from seedvr2_anywhere.tests.models.dit_toys import config, cosine, formula_weights, inputs, random_weights

pytestmark = pytest.mark.usefixtures("one_thread")

GOLDEN_TOLERANCE = 1e-4
GOLDEN_CONFIGS = {"3b": config("3b"), "7b": config("7b")}
# mean, std, largest; values at [0,0,0,0:4], [1,17,31,0:4], [2,39,51,12:16]
GOLDEN = {
    "3b": (
        (0.0850171, 1.651572, 2.514931),
        (-1.52176, -0.57150, 0.51104, 1.48687),
        (0.20605, -0.86578, -1.74102, -2.22696),
        (1.41712, 0.42573, -0.66499, -1.61383),
    ),
    "7b": (
        (0.0358958, 0.622880, 0.999204),
        (-0.60157, -0.21854, 0.20416, 0.57519),
        (-0.10205, -0.53331, -0.85318, -0.99360),
        (0.56110, 0.15665, -0.27446, -0.63962),
    ),
}
TOY = {
    "3b": config("3b", layers=2, separate=1),
    "7b": config("7b", layers=2),
    "3b, last text separate": config("3b", layers=2, separate=2),
}


def golden_velocity(module) -> torch.Tensor:
    """Velocity [3,40,52,16] for the golden inputs."""
    video = cosine((3, 40, 52, 33), 0.3).permute(3, 0, 1, 2)[None]
    with torch.inference_mode():
        return module(video[:, :16], video[:, 16:], cosine((7, 64), 0.9), 1000.0)[0].permute(1, 2, 3, 0)


def velocity(module, arguments, timestep: float = 1000.0) -> torch.Tensor:
    with torch.inference_mode():
        return module(*arguments, timestep)


@pytest.mark.parametrize("style", GOLDEN)
def test_golden_vectors(style):
    found = golden_velocity(load_dit(formula_weights(GOLDEN_CONFIGS[style])))
    statistics, first, middle, last = GOLDEN[style]
    measured = (found.mean(), found.std(), found.abs().max())
    torch.testing.assert_close(torch.stack(measured), torch.tensor(statistics), rtol=0, atol=GOLDEN_TOLERANCE)
    for values, expected in (
        (found[0, 0, 0, :4], first),
        (found[1, 17, 31, :4], middle),
        (found[2, 39, 51, 12:], last),
    ):
        torch.testing.assert_close(values, torch.tensor(expected), rtol=0, atol=GOLDEN_TOLERANCE)


def modulate_last_text(module) -> None:
    module.blocks[-1].plain_text = False


def take_head_from_mlp_slot(module) -> None:
    computed = module._compute_constants

    def wrong(timestep, device):
        constants = computed(timestep, device)
        embedding = module.emb_in(timestep, device, module.dtype)
        shift, scale = (embedding[3:5] + module.vid_out_ada(device)).unbind(0)
        return type(constants)(constants.blocks, (module.vid_out_norm(device)[0] * scale, shift))

    module._compute_constants = wrong


@pytest.mark.parametrize("breaking", [modulate_last_text, take_head_from_mlp_slot])
def test_breaking_a_rule_of_the_3b_shows(breaking):
    # random weights: in the golden ones text keys of the last block get next to no attention
    module = load_dit(random_weights(GOLDEN_CONFIGS["3b"]))
    before = golden_velocity(module)
    breaking(module)
    module.reset_constants()
    assert (golden_velocity(module) - before).abs().max() > 10 * GOLDEN_TOLERANCE


@pytest.mark.parametrize("style", TOY)
def test_samples_of_a_batch_are_independent(style):
    module = load_dit(random_weights(TOY[style]))
    latent, condition, text = inputs(TOY[style], (2, 10, 12), batch=3)
    together = velocity(module, (latent, condition, text))
    for b in range(3):
        assert together[b : b + 1].equal(velocity(module, (latent[b : b + 1], condition[b : b + 1], text)))


@pytest.mark.parametrize("style", TOY)
def test_chunk_size_does_not_change_the_result(style):
    module, arguments = load_dit(random_weights(TOY[style])), inputs(TOY[style], (3, 24, 28))
    whole = velocity(module, arguments)
    for tokens in (1, 130, 300):
        module.scratch_bytes = tokens * scratch_per_token(TOY[style], torch.float32)
        torch.testing.assert_close(velocity(module, arguments), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("grid", [(1, 64, 64), (3, 32, 32), (6, 40, 52)])
def test_windows_of_one_size_attend_in_one_call(grid, monkeypatch):
    module, calls = load_dit(random_weights(TOY["3b"])), []
    attend = attention.attend
    monkeypatch.setattr(attention, "attend", lambda *given: calls.append(given[-1]) or attend(*given))
    velocity(module, inputs(TOY["3b"], grid))
    tokens = (grid[0], grid[1] // 2, grid[2] // 2)
    shapes = [{tuple(shape) for shape in arrange(tokens, shifted).extent.tolist()} for shifted in (False, True)]
    assert len(calls) <= sum(len(block) for block in shapes)


def test_memory_chunks_add_at_most_one_call_each(monkeypatch):
    module, calls = load_dit(random_weights(TOY["3b"])), []
    attend = attention.attend
    monkeypatch.setattr(attention, "attend", lambda *given: calls.append(given[-1]) or attend(*given))
    module.scratch_bytes = 700 * scratch_per_token(TOY["3b"], torch.float32)
    velocity(module, inputs(TOY["3b"], (3, 64, 64)))
    layouts = next(iter(module._geometries.values())).layouts
    allowed = [len(arrange((3, 32, 32), bool(i)).runs) + len(layout.chunks) - 1 for i, layout in enumerate(layouts)]
    assert min(len(layout.chunks) for layout in layouts) > 3
    assert len(calls) <= sum(allowed)


@pytest.mark.parametrize("style", TOY)
def test_constants_are_computed_once_and_again_when_a_weight_changes(style):
    module, arguments = load_dit(random_weights(TOY[style])), inputs(TOY[style], (1, 6, 8))
    calls = []
    module.emb_in.register_forward_hook(lambda *_: calls.append("time"))
    module.txt_in.register_forward_hook(lambda *_: calls.append("text"))
    first = velocity(module, arguments)
    assert velocity(module, arguments).equal(first)
    assert calls == ["time", "text"]
    for weight in (
        module.emb_in.proj_out.bias,
        module.txt_in.weight,
        module.blocks[1].ada["vid" if style != "3b" else "all"].attn_scale,
    ):
        with torch.no_grad():
            weight.mul_(1.5)
        changed = velocity(module, arguments)
        fresh = load_dit(module.state_dict())
        torch.testing.assert_close(changed, velocity(fresh, arguments), rtol=0, atol=1e-6)
        assert not changed.equal(first)


def test_another_text_or_timestep_is_not_taken_from_the_cache():
    module = load_dit(random_weights(TOY["7b"]))
    latent, condition, text = inputs(TOY["7b"], (1, 6, 8))
    other = text.clone()
    results = [velocity(module, (latent, condition, text), timestep) for timestep in (1000.0, 500.0)]
    results += [
        velocity(module, (latent, condition, text[:30])),
        velocity(module, (latent, condition, other.mul_(1.1))),
    ]
    for i, one in enumerate(results):
        assert not any(one.equal(two) for two in results[:i])
    other.div_(1.1)
    torch.testing.assert_close(velocity(module, (latent, condition, other)), results[0], rtol=0, atol=1e-4)


def test_reset_constants_takes_up_weights_changed_behind_the_scenes():
    module, arguments = load_dit(random_weights(TOY["3b"])), inputs(TOY["3b"], (1, 6, 8))
    before = velocity(module, arguments)
    module.emb_in.proj_out.register_forward_hook(lambda layer, given, output: output * 1.5)
    assert velocity(module, arguments).equal(before)
    module.reset_constants()
    assert not velocity(module, arguments).equal(before)


@pytest.mark.parametrize("style", TOY)
def test_gradients_reach_every_weight_and_the_output_stays_the_same(style):
    module, arguments = load_dit(random_weights(TOY[style])), inputs(TOY[style], (2, 10, 12), text_length=5)
    plain = velocity(module, arguments)
    module.requires_grad_(True)
    learned = module(*arguments, 1000.0)
    torch.testing.assert_close(learned, plain, rtol=0, atol=1e-5)
    learned.square().mean().backward()
    idle = {name for name, weight in module.named_parameters() if weight.grad is None}
    last = f"blocks.{TOY[style].layers - 1}."  # of the last text only keys and values are used
    used = ("attn.proj_qkv.txt.weight", "attn.norm_k.txt.weight", "ada.txt.attn_shift", "ada.txt.attn_scale")
    assert all(name.startswith(last) and ".txt." in name and not name.endswith(used) for name in idle), idle


def test_low_precision_stays_near_float32():
    weights, arguments = random_weights(TOY["3b"]), inputs(TOY["3b"], (2, 10, 12))
    exact = velocity(load_dit(weights), arguments)
    for dtype in (torch.bfloat16, torch.float16):
        found = velocity(load_dit(weights, dtype=dtype), arguments)
        assert found.dtype == torch.float32
        assert (found - exact).abs().max() < 0.1 * exact.std(), dtype


def test_each_block_reports_before_it_starts_and_may_stop_the_run():
    module, arguments = load_dit(random_weights(TOY["3b"])), inputs(TOY["3b"], (1, 4, 4))
    seen = []
    module.on_block = lambda index, count: seen.append((index, count))
    before = velocity(module, arguments)
    assert seen == [(0, 2), (1, 2)]

    def cancel(index, count):
        if index == 1:
            raise KeyboardInterrupt

    module.on_block = cancel
    with pytest.raises(KeyboardInterrupt):
        velocity(module, arguments)
    module.on_block = None
    assert velocity(module, arguments).equal(before), "an interrupted run leaves nothing behind"


def test_a_call_leaves_its_inputs_as_they_were():
    module, arguments = load_dit(random_weights(TOY["3b"])), inputs(TOY["3b"], (1, 4, 4))
    copies = [tensor.clone() for tensor in arguments]
    velocity(module, arguments)
    velocity(module, arguments)
    assert all(tensor.equal(copy) for tensor, copy in zip(arguments, copies, strict=True))


def test_tokens_are_cells_of_two_by_two_with_channels_fastest():
    latent, condition = torch.randn(16, 2, 4, 6), torch.randn(17, 2, 4, 6)
    tokens = patchify(latent, condition)
    assert tokens.shape == (2 * 2 * 3, 132)
    token = (1 * 2 + 1) * 3 + 2  # t=1, y=1, x=2
    assert tokens[token, 33 * (2 * 1 + 0) + 4] == latent[4, 1, 3, 4]
    assert tokens[token, 33 * (2 * 0 + 1) + 16 + 9] == condition[9, 1, 2, 5]
    cells = torch.randn(12, 64)
    assert unpatchify(cells, (2, 2, 3))[7, 1, 2, 5] == cells[token, 16 * (2 * 0 + 1) + 7]


BAD_CALLS = {
    "odd height": ({"grid": (1, 5, 4)}, r"latent is 5×4: height and width must be even"),
    "odd width": ({"grid": (1, 4, 7)}, r"latent is 4×7: height and width must be even"),
    "zero frames": ({"grid": (0, 4, 4)}, r"\[1, 16, 0, 4, 4\].*at least one"),
    "empty batch": ({"batch": 0}, r"\[0, 16, 1, 4, 4\].*at least one"),
    "latent channels": ({"latent": torch.zeros(1, 15, 1, 4, 4)}, r"latent has shape .*15.* expected \[B,16,T,H,W\]"),
    "latent rank": ({"latent": torch.zeros(16, 1, 4, 4)}, r"latent has shape .* expected \[B,16,T,H,W\]"),
    "condition channels": ({"condition": torch.zeros(1, 16, 1, 4, 4)}, r"condition .* expected \[B,17,T,H,W\]"),
    "condition size": ({"condition": torch.zeros(1, 17, 2, 4, 4)}, r"condition has shape .*expected that of latent"),
    "text width": ({"text": torch.zeros(3, 63)}, r"text has shape \[3, 63\], expected \[L,64\]"),
    "no text": ({"text": torch.zeros(0, 64)}, r"text has shape \[0, 64\]"),
    "timestep": ({"timestep": math.nan}, r"timestep is nan"),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_a_bad_call_is_refused_by_name(case):
    changes, message = BAD_CALLS[case]
    sizes = {key: changes[key] for key in ("grid", "batch") if key in changes}
    latent, condition, text = inputs(TOY["3b"], **({"grid": (1, 4, 4)} | sizes))
    given = {"latent": latent, "condition": condition, "text": text, "timestep": 1000.0}
    given |= {key: value for key, value in changes.items() if key in given}
    module = load_dit(random_weights(TOY["3b"]))
    with pytest.raises(BadInput, match=message):
        module(**given)


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn], ids=str)
def test_arithmetic_in_eight_bits_is_refused(dtype):
    with pytest.raises(BadInput, match="dtype is torch"):
        load_dit(random_weights(TOY["3b"]), dtype=dtype)
