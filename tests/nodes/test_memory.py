"""ComfyUI's memory manager holds the weights: the result stays, models share and leave, and come back when needed."""

from __future__ import annotations

import time

import pytest
import torch
from seedvr2_anywhere.engine.images import restore_images
from seedvr2_anywhere.engine.network import Network, load_network
from seedvr2_anywhere.engine.padding import plan_geometry
from seedvr2_anywhere.engine.placement import Need
from seedvr2_anywhere.engine.restore import Method, Streams, restore_shot
from seedvr2_anywhere.engine.shot_stream import Frame
from seedvr2_anywhere.engine.upscale import Wish
from seedvr2_anywhere.engine.windows import Windowing
from seedvr2_anywhere.tests.nodes.comfy_toys import KINDS, pack_module, write_weights

CPU = torch.device("cpu")
WISH = Wish(new_resolution=32, batch_size=5)
ROUNDING = 1e-4  # of float32 through two networks, in units of 0..1
EIGHT_BIT = 0.02  # int8 rounds inputs too
EMPTY = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 0}},
    "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
}

pytestmark = [pytest.mark.comfy, pytest.mark.usefixtures("one_thread")]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_weights(tmp_path_factory.mktemp("weights") / "seedvr2_toy.safetensors")


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    return torch.rand(5, 32, 32, 3, generator=torch.Generator().manual_seed(1))


def restored(network: Network, pictures: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return restore_images(pictures, WISH, network)


def managed(weights, **changes) -> Network:
    """The network in the hands of ComfyUI, its layers as on a graphics card where `casts` is set."""
    module = pack_module("managed")
    placement = module.Managed(CPU)
    if changes.pop("casts", False):
        host = pack_module("comfy_host")
        placement.operations = lambda dtype, is_quantized: host.operations_for(CPU, dtype, is_quantized)
    return load_network(weights, placement=placement, **changes)


def models_known() -> list[str]:
    return [type(one.model).__name__ for one in pack_module("comfy_host").memory.loaded_models()]


@pytest.mark.parametrize("casts", [False, True], ids=["our layers", "ComfyUI's layers"])
def test_the_result_is_that_of_the_network_alone(weights, pictures, casts):
    network = managed(weights, casts=casts)
    found = restored(network, pictures)
    allowed = ROUNDING if casts else 0
    torch.testing.assert_close(found, restored(load_network(weights), pictures), rtol=0, atol=allowed)
    assert sorted(models_known()) == ["NaDiT", "VideoVAE"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_quantised_file_works_through_comfyuis_layers(tmp_path, pictures, kind):
    path = write_weights(tmp_path / f"{kind}.safetensors", kind)
    found = restored(managed(path), pictures)
    torch.testing.assert_close(found, restored(load_network(path), pictures), rtol=0, atol=EIGHT_BIT)


def test_a_model_that_had_to_leave_comes_back(weights, pictures):
    network = managed(weights)
    first = restored(network, pictures)
    pack_module("comfy_host").memory.unload_all_models()
    assert models_known() == []
    torch.testing.assert_close(restored(network, pictures), first, rtol=0, atol=0)
    assert sorted(models_known()) == ["NaDiT", "VideoVAE"]


def test_one_network_stays_loaded_until_another_is_wanted_or_comfyui_frees_it(weights, monkeypatch):
    module = pack_module("managed")
    monkeypatch.setattr(module, "SECONDS_TO_FORGET", 0.01)
    loaded, loads = module.LoadedNetwork(), []

    def get(key: str) -> Network:
        return loaded.get(key, CPU, lambda placement: loads.append(key) or load_network(weights, placement=placement))

    first = get("one")
    assert get("one") is first
    assert get("two") is not first
    assert loads == ["one", "two"]
    get("two").placement.use("transformer")
    pack_module("comfy_host").memory.unload_all_models()
    until = time.monotonic() + 10
    while loaded._network is not None and time.monotonic() < until:
        time.sleep(0.01)
    get("two")
    assert loads == ["one", "two", "two"]


@pytest.fixture
def on_disk(server):
    """Writes a file of weights where the server looks for them, and takes it away at the end."""
    folder, written = server.base / "models" / "SEEDVR2", []
    folder.mkdir(exist_ok=True)

    def write(kind: str = "") -> str:
        written.append(write_weights(folder / f"seedvr2_toy_{kind}.safetensors", kind))
        return written[-1].name

    yield write
    for path in written:
        path.unlink()


def run_with(server, model: str, seeds: tuple[int, ...]) -> int:
    """How often ComfyUI loaded a transformer while one graph ran upscales with a file of weights."""
    workflow = server.main_job()
    upscale = workflow.pop("35")
    for number, seed in enumerate(seeds):
        inputs = upscale["inputs"] | {"backend.model": model, "seed": seed, "new_resolution": 32}
        workflow[f"35{number}"] = {"class_type": upscale["class_type"], "inputs": inputs}
        workflow[f"36{number}"] = {"class_type": "PreviewAny", "inputs": {"source": [f"35{number}", 1]}}
    del workflow["34"]
    before = loads_in(server)
    entry = server.run(workflow)
    assert entry["status"]["status_str"] == "success", entry["status"]
    for number in range(len(seeds)):
        assert "24 frames restored." in entry["outputs"][f"36{number}"]["text"][0]
    return loads_in(server) - before


def loads_in(server) -> int:
    return (server.base / "server.log").read_text(errors="replace").count("Requested to load NaDiT")


def test_two_upscales_in_a_graph_load_once_and_a_freed_model_is_loaded_again(server, on_disk):
    model = on_disk()
    assert run_with(server, model, (1, 2)) == 1
    status, _ = server.post("/free", {"unload_models": True, "free_memory": True})
    assert status == 200
    server.run(EMPTY)  # the memory is free after the prompt that follows the wish, at the latest
    assert run_with(server, model, (3,)) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_quantised_file_on_disk_works_from_the_node(server, on_disk, kind):
    assert run_with(server, on_disk(kind), (1,)) == 1


def test_memory_that_a_part_holds_already_is_not_asked_for_again(weights, pictures, monkeypatch):
    """A state asked for twice would send other models away each time the parts take turns."""
    module, asked = pack_module("managed"), []
    monkeypatch.setattr(module.comfy_host, "load", lambda patchers, needed: asked.append(needed))
    network = managed(weights)
    needs = {"encoder": Need(1, 100), "transformer": Need(10), "decoder": Need(2, 200)}
    network.placement.arrange("resident", needs)
    frames = [Frame((255 * picture).to(torch.uint8).numpy(), number) for number, picture in enumerate(pictures)] * 12
    method = Method(plan_geometry((32, 32), (32, 32)), Windowing(3, 1))
    with torch.no_grad():
        list(restore_shot(network, frames, 0, method, Streams()))
    first, *later = asked
    assert (first, later[0]) == (101, 10)
    assert later.count(202) == 1, "the decoder's state, at its first piece"
    assert set(later) == {1, 10, 2, 202}
