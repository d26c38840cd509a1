"""Press Run in a process of its own: `python pressing.py FOLDER BASE NAME FRAMES`, so that it can be killed."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def load(name: str, file: Path):
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    folder, base, name, frames = sys.argv[1:]
    load("pack_loader", HERE.parent / "conftest.py")
    desks = load("desks", HERE / "conftest.py")
    servers = desks._module()
    service = servers.Service(base=base)
    desk = desks.Desk(service, servers, Path(folder))
    desk.clip_of(int(frames))
    desk.patience = desks.net.Timeouts(5, 20, 20)  # several processes share the machine
    desk.job = dataclasses.replace(desk.job, source_key=name)
    print(desk.run().shape, flush=True)
