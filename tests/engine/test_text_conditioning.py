"""The two text tensors come from disk when any file carries them; else 1.2 MB of a 7 GB file is fetched, once."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from safetensors.torch import save, save_file
from seedvr2_anywhere import net
from seedvr2_anywhere.engine import text_conditioning as text
from seedvr2_anywhere.engine import weights
from seedvr2_anywhere.models import catalogue

SOURCES = [catalogue.url_of(catalogue.by_name(name), "") for name in text.SOURCES]
FILLER = torch.arange(500_000, dtype=torch.float32)


def look_alike(expected: text.Fingerprint, seed: int = 0) -> torch.Tensor:
    """A bfloat16 tensor [rows, 5120] with the published statistics and first values."""
    values = torch.randn(expected.rows, text.WIDTH, generator=torch.Generator().manual_seed(seed)).double()
    spread = (expected.std**2 - expected.largest**2 / values.numel()) ** 0.5  # the one outlier adds the rest
    values = (values - values.mean()) / values.std() * spread + expected.mean
    values.view(-1)[: len(expected.first)] = torch.tensor(expected.first).double()
    values[1, 0] = expected.largest
    return values.bfloat16()


POSITIVE, NEGATIVE = look_alike(text.POSITIVE), look_alike(text.NEGATIVE)


def tensors(prefix: str = "", **changes: torch.Tensor) -> dict[str, torch.Tensor]:
    pair = {text.POSITIVE.key: POSITIVE, text.NEGATIVE.key: NEGATIVE, **changes}
    return {"aaa.weight": FILLER, **{prefix + key: value for key, value in pair.items()}, "zzz.weight": FILLER + 1}


@pytest.fixture
def hub(server):
    world = net.World(sleep=lambda seconds: None, timeouts=net.Timeouts(2, 0.5, 0.5))
    return dataclasses.replace(weights.Hub.at(server.base), world=world)


def check(found: text.TextConditioning) -> None:
    assert torch.equal(found.positive, POSITIVE)
    assert torch.equal(found.negative, NEGATIVE)


@pytest.mark.parametrize("prefix", text.PREFIXES)
@pytest.mark.parametrize("name", ["seedvr2_7b_int8_convrot.safetensors", "my_seedvr2.safetensors"])
def test_a_checkpoint_on_disk_gives_the_tensors_without_a_request(hub, server, tmp_path, prefix, name):
    save_file(tensors(prefix), tmp_path / name)
    check(text.text_conditioning([tmp_path], tmp_path / "kept", hub))
    assert server.seen == []


def test_the_hub_is_asked_for_header_and_two_tensors_only_and_only_once(hub, server, tmp_path):
    server.files[SOURCES[0]] = save(tensors())
    check(text.text_conditioning([], tmp_path, hub))
    asked = [[int(one) for one in span.removeprefix("bytes=").split("-")] for span in server.ranges_asked()]
    tensor_bytes = POSITIVE.nbytes + NEGATIVE.nbytes
    assert tensor_bytes < sum(last - first + 1 for first, last in asked) < tensor_bytes + 1000
    check(text.text_conditioning([], tmp_path, hub))
    assert len(server.seen) == 4
    assert [path.name for path in tmp_path.iterdir()] == [text.KEPT_NAME]


def test_the_second_source_serves_when_the_first_is_gone(hub, server, tmp_path):
    server.files[SOURCES[1]] = save(tensors())
    check(text.text_conditioning([], tmp_path, hub))


def test_a_folder_that_cannot_be_written_costs_only_the_copy(hub, server, tmp_path):
    server.files[SOURCES[0]] = save(tensors())
    (tmp_path / "file").write_text("no folder")
    check(text.text_conditioning([], tmp_path / "file", hub))


BROKEN = {
    "rows swapped": tensors(positive_conditioning=NEGATIVE, negative_conditioning=POSITIVE),
    "other statistics": tensors(positive_conditioning=(POSITIVE.double() * 1.01).bfloat16()),
    "other first values": tensors(negative_conditioning=NEGATIVE.roll(1, dims=1)),
    "shuffled mean": tensors(positive_conditioning=(POSITIVE.double() + 0.01).bfloat16()),
    "nan": tensors(positive_conditioning=POSITIVE.clone().index_fill_(0, torch.tensor([5]), float("nan"))),
    "whole numbers": tensors(positive_conditioning=POSITIVE.int()),
    "no such tensors": {"a": FILLER},
}


@pytest.mark.parametrize("name", BROKEN)
def test_other_tensors_than_the_published_are_not_believed_on_disk_or_from_the_hub(hub, server, tmp_path, name):
    save_file(BROKEN[name], tmp_path / "seedvr2_3b_fp16.safetensors")
    for source in SOURCES:
        server.files[source] = save(BROKEN[name])
    with pytest.raises(weights.MissingWeights, match=r"text conditioning.*Comfy-Org.*seedvr2_3b_fp16"):
        text.text_conditioning([tmp_path], tmp_path / "kept", hub)
    assert not (tmp_path / "kept").exists()


def test_a_damaged_kept_file_is_fetched_again(hub, server, tmp_path):
    server.files[SOURCES[0]] = save(tensors())
    (tmp_path / text.KEPT_NAME).write_bytes(b"\x08\0\0\0\0\0\0\0{}      trash")
    check(text.text_conditioning([], tmp_path, hub))
    check(text.read_text(tmp_path / text.KEPT_NAME))


def entry(**changes) -> bytes:
    good = {"dtype": "BF16", "shape": [58, 5120], "data_offsets": [0, 593_920]}
    header = json.dumps({text.POSITIVE.key: {**good, **changes}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(600_000)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>not found</html>" * 100,
        (1 << 40).to_bytes(8, "little") + b"{}" * 100,
        (200).to_bytes(8, "little") + b"[]" * 100,
        (200).to_bytes(8, "little") + b"\xff" * 300,
        entry(dtype="F16"),
        entry(shape=[5120, 58]),
        entry(data_offsets=[0, 1 << 50]),
        entry(data_offsets=[-593_920, 0]),
        entry(data_offsets="all of it"),
    ],
    ids=["empty", "html", "endless", "list", "binary", "dtype", "shape", "beyond", "negative", "text"],
)
def test_a_hub_that_answers_nonsense_costs_no_more_than_a_few_requests(hub, server, tmp_path, body):
    for source in SOURCES:
        server.files[source] = body
    with pytest.raises(weights.MissingWeights):
        text.text_conditioning([], tmp_path, hub)
    assert len(server.seen) <= 8


def test_a_hub_without_ranges_is_not_downloaded_whole(hub, server, servers, tmp_path):
    server.script = [servers.without_ranges] * 2
    for source in SOURCES:
        server.files[source] = save(tensors())
    with pytest.raises(weights.MissingWeights, match="whole files only"):
        text.text_conditioning([], tmp_path, hub)


def test_offline_the_message_says_what_to_fetch_and_where_to_put_it(hub, tmp_path):
    offline = dataclasses.replace(hub, endpoint="http://127.0.0.1:9")
    with pytest.raises(weights.MissingWeights) as caught:
        text.text_conditioning([], tmp_path, offline)
    for part in ("1.2 MB", "http://127.0.0.1:9/Comfy-Org/SeedVR2/resolve/main/diffusion_models", str(tmp_path)):
        assert part in str(caught.value)
