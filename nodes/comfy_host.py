"""ComfyUI around the nodes: its folders, devices, interrupt, progress and previews. Nothing else touches it."""

from __future__ import annotations

import ipaddress
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import comfy.model_management as memory
import folder_paths
import torch
from aiohttp import web
from comfy.cli_args import args
from comfy.utils import ProgressBar
from comfy_execution.graph_utils import ExecutionBlocker
from comfy_execution.validation import validate_node_input

from .. import media
from ..engine.host import Host, Progress
from ..engine.images import sdr_batches
from ..engine.machine import Machine, card_of, limited
from ..engine.plan import Room
from ..engine.quantize import to_codes, to_float
from ..engine.resize import resize
from ..models.layers import Operations
from .live_status import Broadcast, LiveStatus
from .run_board import RunBoard

MODEL_FOLDER = "SEEDVR2"
WEIGHT_FOLDERS = (MODEL_FOLDER, "diffusion_models", "vae")
JOBS_VARIABLE, VIDEO_DIRS_VARIABLE = "SEEDVR2_JOBS", "SEEDVR2_VIDEO_DIRS"
JOBS_FOLDER = "seedvr2_jobs"
CACHE = "seedvr2"  # below the system user folder, which no route serves
LARGEST_PREVIEW = 512  # pixels
EXAMPLE = Path(__file__).resolve().parent.parent / "workflows" / "seedvr2_example.mp4"
RUN_EVENT = "seedvr2.run"  # carries a LiveStatus
Item = TypeVar("Item")
Interrupted = memory.InterruptProcessingException
log = logging.getLogger(__name__)
RUNS = RunBoard()
WORKFLOW = "seedvr2_workflow"  # in the extra data of a prompt in API form: id of the workflow that it was made from
NO_WORKFLOW = "00000000-0000-0000-0000-000000000000"  # the frontend's id of a graph that has none


def register_model_folder() -> None:
    """Let ComfyUI know models/SEEDVR2."""
    folder_paths.add_model_folder_path(MODEL_FOLDER, str(Path(folder_paths.models_dir) / MODEL_FOLDER), is_default=True)


def model_folders() -> tuple[Path, ...]:
    """All folders that may hold weights, extra paths included."""
    return tuple(Path(one) for name in WEIGHT_FOLDERS for one in folder_paths.get_folder_paths(name))


def download_folder() -> Path:
    """Where named weights go."""
    return Path(folder_paths.get_folder_paths(MODEL_FOLDER)[0])


def cache_folder() -> Path:
    """For small files that can be made again."""
    return Path(folder_paths.get_system_user_directory(CACHE))


def add_routes(add: Callable[[web.RouteTableDef], None]) -> None:
    """Let `add` put routes on ComfyUI's table; before the server starts to answer."""
    from server import PromptServer

    if PromptServer.instance is not None:
        add(PromptServer.instance.routes)


def jobs_folder() -> Path:
    """Where runs keep their segments and results."""
    chosen = os.environ.get(JOBS_VARIABLE, "").strip()
    return Path(chosen) if chosen else Path(folder_paths.get_output_directory()) / JOBS_FOLDER


def links_folder() -> Path:
    """Where clips behind links are kept."""
    return jobs_folder() / "sources" / "links"


def input_folder() -> Path:
    """Where uploads are."""
    return Path(folder_paths.get_input_directory())


def temporary_folder() -> Path:
    """Emptied by ComfyUI at every start."""
    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def offer_example() -> None:
    """Put the clip that every template names into input/, unless a file of that name is there."""
    target = input_folder() / EXAMPLE.name
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        if not target.exists():
            shutil.copyfile(EXAMPLE, part)
            os.replace(part, target)
    except OSError as error:
        log.warning("SeedVR2: the example clip was not copied into %s: %s", target.parent, error)


def input_file(name: str) -> Path:
    """The file an upload widget names; raises when it lies outside ComfyUI's folders."""
    return Path(folder_paths.get_annotated_filepath(name))


def readable_folders() -> list[Path] | None:
    """Folders that paths may point into; None, any, when only this machine can reach the server."""
    if all(_is_loopback(address.strip()) for address in (args.listen or "").split(",")):
        return None
    more = [Path(one) for one in os.environ.get(VIDEO_DIRS_VARIABLE, "").split(os.pathsep) if one.strip()]
    return [input_folder(), Path(folder_paths.get_output_directory()), temporary_folder(), *more]


def place_for(prefix: str, size: tuple[int, int], is_kept: bool) -> tuple[Path, str, str]:
    """(folder, file name without suffix, folder below output or temp) for a result of (width, height)."""
    root = folder_paths.get_output_directory() if is_kept else str(temporary_folder())
    folder, name, counter, below, _ = folder_paths.get_save_image_path(prefix, root, *size)
    return Path(folder), f"{name}_{counter:05}_", below


def place_trouble(prefix: str, is_kept: bool) -> str:
    """Why no result can be written where a prefix leads; empty where nothing stands in the way."""
    root = Path(folder_paths.get_output_directory()) if is_kept else temporary_folder()
    folder = Path(os.path.abspath(root / Path(prefix).parent))
    if not folder.is_relative_to(os.path.abspath(root)):
        return f"filename_prefix {prefix} leads out of {root}. Name a folder inside it."
    reason = media.obstacle_to(folder)
    return f"Nothing can be saved in {folder}: {reason}. Choose another folder in filename_prefix." if reason else ""


def view_of(path: Path) -> dict[str, str] | None:
    """How ComfyUI's /view is asked for a file below output, input or temp; None for any other."""
    roots = {
        "output": folder_paths.get_output_directory(),
        "input": str(input_folder()),
        "temp": str(temporary_folder()),
    }
    for kind, root in roots.items():
        if folder_paths.is_within_directory(root, str(path)):
            below = path.parent.resolve().relative_to(Path(root).resolve())
            return {"filename": path.name, "subfolder": below.as_posix() if below.parts else "", "type": kind}
    return None


def may_store_workflow() -> bool:
    """False under --disable-metadata."""
    return not args.disable_metadata


def types_fit(received: str, expected: str) -> bool:
    """True when an output of one type may be connected to an input of the other."""
    return validate_node_input(received, expected)


def blocked() -> object:
    """An output that quietly keeps the nodes behind it from running."""
    return ExecutionBlocker(None)


def device_names() -> list[str]:
    """What the device widget offers."""
    return ["auto", *(f"cuda:{number}" for number in range(0 if args.cpu else torch.cuda.device_count())), "cpu"]


def device_for(choice: str) -> torch.device:
    """The device of a choice; auto is ComfyUI's."""
    return memory.get_torch_device() if choice == "auto" else torch.device(choice)


def has_gpu() -> bool:
    """True when ComfyUI computes on something faster than the processor."""
    return memory.get_torch_device().type != "cpu"


def free_bytes(device: torch.device) -> int:
    """Memory that could be had on a device: what is free, and what models of the memory manager would give back."""
    free = int(memory.get_free_memory(device))  # pyright: ignore[reportArgumentType]
    if device.type == "cpu":
        return free
    return free + sum(int(one.model_loaded_memory()) for one in memory.current_loaded_models if one.device == device)


def machine_for(device: torch.device, limit_gb: float) -> Machine:
    """What plans are made for; `limit_gb` > 0: most GiB of the device's memory to use."""

    def room() -> Room:
        host = free_bytes(torch.device("cpu"))
        return limited(Room(0 if device.type == "cpu" else free_bytes(device), host), limit_gb)

    return Machine(card_of(device), room)


def operations_for(device: torch.device, dtype: torch.dtype, is_quantized: bool) -> Operations:
    """ComfyUI's layers for a device and the dtype they compute in."""
    from comfy import ops

    if not is_quantized:
        return ops.manual_cast
    native = {
        "float8_e4m3fn": memory.supports_fp8_compute,
        "float8_e5m2": memory.supports_fp8_compute,
        "mxfp8": memory.supports_mxfp8_compute,
        "nvfp4": memory.supports_nvfp4_compute,
    }
    emulated = {kind for kind, computes in native.items() if device.type != "cuda" or not computes(device)}
    return ops.mixed_precision_ops({}, dtype, disabled=emulated)  # pyright: ignore[reportArgumentType]


def patcher_of(module: torch.nn.Module, device: torch.device, unloaded: Callable[[], None]) -> object:
    """What ComfyUI's memory manager calls a model; `unloaded` is called when it took its weights from the device."""
    from comfy import model_patcher
    from comfy.patcher_extension import CallbacksMP

    offload = torch.device("cpu") if device.type == "cpu" else memory.unet_offload_device()
    patcher = model_patcher.CoreModelPatcher(module, load_device=device, offload_device=offload)
    patcher.add_callback(CallbacksMP.ON_DETACH, lambda _, all_of_it: unloaded() if all_of_it else None)
    return patcher


def load(patchers: list, needed: int) -> None:
    """Have models on their device, with `needed` bytes of it free for the work."""
    memory.load_models_gpu(patchers, memory_required=needed)


def has_loaded(patchers: list) -> bool:
    """True while any of the models is among those that the memory manager loaded."""
    return any(one.model is patcher for one in list(memory.current_loaded_models) for patcher in patchers)


def stop_if_interrupted() -> None:
    """Raise ComfyUI's interrupt when the user pressed Stop; on the thread ComfyUI called only."""
    memory.throw_exception_if_processing_interrupted()


def stoppable(items: Iterable[Item]) -> Iterator[Item]:
    """The items, with a look at ComfyUI's interrupt before each."""
    for item in items:
        stop_if_interrupted()
        yield item


def is_interrupted() -> bool:
    """The same as an answer, for work that stops by itself."""
    return bool(memory.processing_interrupted())


def say(text: str, node: str | None) -> None:
    """Show a line on the node."""
    from server import PromptServer

    if node is not None and PromptServer.instance is not None:
        PromptServer.instance.send_progress_text(text, node)


def publish(node: str | None, status: LiveStatus) -> None:
    """Tell all pages how far a node's run is, and of which workflow, and keep it for those that ask later."""
    from server import PromptServer

    if node is not None and PromptServer.instance is not None:
        message = status.as_message(node) | _origin()
        RUNS.put(message)
        PromptServer.instance.send_sync(RUN_EVENT, message)


def running_prompt() -> dict | None:
    """What POST /prompt takes to run this prompt again when the graph is gone, told as a run of the same workflow."""
    entry = _running()
    return {"prompt": entry[2], "extra_data": {WORKFLOW: _origin()["workflow"]}} if entry else None


def broadcast(node: str | None, status: LiveStatus) -> Broadcast:
    """A status that the page hears of whenever it changes."""
    return Broadcast(status, lambda told: publish(node, told))


def engine_host(node: str | None, kept: Callable[[int], None], told: Broadcast, machine: Machine | None = None) -> Host:
    """What the engine sees of ComfyUI: stop, progress, which the page hears of through `told`, and previews."""
    bar = ProgressBar(1, node_id=node)

    def progress(state: Progress) -> None:
        bar.update_absolute(state.frames, max(state.expected or 0, state.frames, 1))
        told.update(frames=state.frames, expected=state.expected, frames_per_second=state.frames_per_second,
                    seconds_left=state.seconds_left, shot=state.shot)  # fmt: skip

    def preview(index: int, frame: torch.Tensor) -> None:
        bar.update_absolute(bar.current, preview=("JPEG", _picture(frame), LARGEST_PREVIEW))

    return Host(check=stop_if_interrupted, progress=progress, preview=preview, kept=kept, machine=machine)


def show_first(node: str | None, path: Path) -> None:
    """Show a video's first frame on the node: what a run leaves there is its result, as on the nodes beside it."""
    with suppress(media.MediaError, StopIteration), media.read(path, media.Selection(cap=1)) as reader:
        show_frame(node, to_float(next(sdr_batches(reader))[0])[0])  # no run fails for its picture


def show_frame(node: str | None, frame: torch.Tensor) -> None:
    """Show a frame [H,W,C] in 0..1 on the node, without its opacity, which a JPEG has no place for."""
    ProgressBar(1, node_id=node).update_absolute(1, preview=("JPEG", _picture(frame[..., :3]), LARGEST_PREVIEW))


def download_progress(node: str | None) -> Callable[[int, int | None], None]:
    """Shows how far a download is."""
    bar = ProgressBar(1, node_id=node)

    def show(done: int, total: int | None) -> None:
        bar.update_absolute(done, max(total or 0, done, 1))

    return show


def _running() -> tuple | None:
    """What ComfyUI's queue holds of the prompt that runs: (number, id, API prompt, extra data, …)."""
    from server import PromptServer

    running, _ = PromptServer.instance.prompt_queue.get_current_queue_volatile() if PromptServer.instance else ((), ())
    return next(iter(running), None)


def _origin() -> dict:
    """Ids of the prompt that runs and of the workflow it was made from; a prompt posted in API form has none."""
    entry = _running()
    if entry is None:
        return {"prompt": None, "workflow": None}
    extra = entry[3]
    workflow = ((extra.get("extra_pnginfo") or {}).get("workflow") or {}).get("id") or extra.get(WORKFLOW)
    return {"prompt": entry[1], "workflow": workflow if workflow != NO_WORKFLOW else None}


def _picture(frame: torch.Tensor):
    """A frame [H,W,3] as it is shown; made small here, or ComfyUI would do that on its event loop."""
    from PIL import Image

    height, width = frame.shape[:2]
    scale = min(1.0, LARGEST_PREVIEW / max(height, width))
    shown = resize(frame[None], max(1, round(height * scale)), max(1, round(width * scale)))
    return Image.fromarray(to_codes(shown)[0].cpu().numpy())


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
