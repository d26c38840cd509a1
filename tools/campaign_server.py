"""The real ComfyUI under stress: killed again and again while it works, and fed clips of very different length."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from seedvr2_anywhere import media
from seedvr2_anywhere.tools import comfyui

ROOT = Path(__file__).resolve().parent.parent
WORKFLOW = ROOT / "workflows" / "api" / "video_upscale.json"
EMBEDDED = "embedded (small, built in)"
RUN_SECONDS = 3600
LOOK_SECONDS = 0.05
MOST_KEPT, LONGEST_DELAY = 0.8, 0.5  # share of the frames, seconds
INTERRUPTED = "execution_interrupted"
SHOT = 30  # frames between two cuts of the made clips


def kill(times: int, seed: int, frames: int = 120) -> str:
    """Kill the server at random moments of one run, go on each time, and compare with a run that was left alone.

    Raises AssertionError when the results differ.
    """
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        write_clip(base / "input" / "clip.mp4", (48, 32), frames)
        expected = whole_run(base, job_of(64))
        shutil.rmtree(base / "output")
        shares = sorted(chance.uniform(0, MOST_KEPT) for _ in range(times))
        killed = [kill_at(base, job_of(64), int(share * frames), chance.uniform(0, LONGEST_DELAY)) for share in shares]
        found = whole_run(base, job_of(64))
    assert found == expected, f"another result after SIGKILL at {killed}: {found}, expected {expected}"
    return f"killed after {', '.join(map(str, killed))} of {frames} frames were kept: identical result"


def memory(lengths: tuple[int, ...] = (120, 2400)) -> str:
    """Peak memory of the whole server for 96 × 64 clips of several lengths, each in a server of its own."""
    peaks = {}
    for frames in lengths:
        with tempfile.TemporaryDirectory() as folder:
            base = Path(folder)
            write_clip(base / "input" / "clip.mp4", (96, 64), frames)
            with comfyui.running(base, threads=1) as server:
                succeed(server.run(job_of(64), RUN_SECONDS))
                peaks[frames] = peak_bytes(server.process.pid)
    shares = ", ".join(f"{frames:,} frames {size / 1e6:,.0f} MB" for frames, size in peaks.items())
    return f"peak of the server: {shares}; largest / smallest {max(peaks.values()) / min(peaks.values()):.3f}"


def stop(times: int, seed: int, frames: int = 300) -> str:
    """Seconds from an interrupt to the moment the run ended by it, at random moments of a run.

    By the time stamps of ComfyUI's own messages: its collecting of garbage after a run delays all answers.
    """
    chance, waits = random.Random(seed), []
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        write_clip(base / "input" / "clip.mp4", (96, 64), frames)
        with comfyui.running(base, threads=1) as server:
            for number in range(times):
                job = job_of(64)
                job["35"]["inputs"]["seed"] = number
                prompt = server.post("/prompt", {"prompt": job})[1]["prompt_id"]
                time.sleep(chance.uniform(1, 5))
                start = time.time()
                server.post("/interrupt", {"prompt_id": prompt})
                while (entry := server.history(prompt)) is None:
                    time.sleep(LOOK_SECONDS)
                ends = [said["timestamp"] for kind, said in entry["status"]["messages"] if kind == INTERRUPTED]
                waits.append(ends[0] / 1000 - start)
    return f"interrupts took effect after {', '.join(f'{wait:.2f}' for wait in waits)} s"


def job_of(short_side: int) -> dict:
    """The bundled workflow on the made clip, with the model that is always there; nothing is encoded twice."""
    found = json.loads(WORKFLOW.read_text(encoding="utf-8"))
    found["33"]["inputs"]["video"] = "clip.mp4"
    found["35"]["inputs"] |= {"new_resolution": short_side, "backend.model": EMBEDDED, "batch_size": 5}
    return found


def write_clip(path: Path, size: tuple[int, int], frames: int) -> None:
    """Moving texture with a cut every second or so."""
    path.parent.mkdir(parents=True)
    rows, columns = np.mgrid[: size[1], : size[0]]

    def picture(number: int) -> np.ndarray:
        wave = 128 + 100 * np.sin((columns + 2 * number) / 5) * np.cos(rows / 7)
        shot = np.stack([wave, wave * 0.5, 255 - wave], axis=-1)
        return np.roll(shot, number // SHOT, axis=-1).astype(np.uint8)

    batches = ((picture(number)[None], np.array([number])) for number in range(frames))
    media.write(path, batches, time_base=1 / media.snap_rate(24))


def whole_run(base: Path, job: dict) -> str:
    """Run to the end in a fresh server; the digest of all frames of the job's result."""
    with comfyui.running(base, threads=1) as server:
        succeed(server.run(job, RUN_SECONDS))
    return digest_of(next((base / "output" / "seedvr2_jobs").glob("clip_*/result.mp4")))


def digest_of(result: Path) -> str:
    """Of all frames and their times."""
    digest = hashlib.sha256()
    for frames, pts in media.read(result):
        digest.update(frames.tobytes() + pts.tobytes())
    return digest.hexdigest()


def kill_at(base: Path, job: dict, kept: int, delay: float) -> int:
    """Kill a fresh server `delay` seconds after so many frames are kept; how many are then."""
    with comfyui.running(base, threads=1) as server:
        status, answer = server.post("/prompt", {"prompt": job})
        assert status == 200, answer
        until = time.monotonic() + RUN_SECONDS
        while frames_kept(base) < kept and time.monotonic() < until:
            assert server.history(answer["prompt_id"]) is None, "finished before it could be killed"
            time.sleep(LOOK_SECONDS)
        time.sleep(delay)
        server.process.kill()
        server.process.wait()
    return frames_kept(base)


def frames_kept(base: Path) -> int:
    """What the manifest says is finished."""
    manifests = list((base / "output" / "seedvr2_jobs").glob("clip_*/job.json"))
    return sum(one["frames"] for one in json.loads(manifests[0].read_text())["stretches"]) if manifests else 0


def peak_bytes(process: int) -> int:
    """The most memory a process ever had resident (Linux)."""
    status = Path(f"/proc/{process}/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def succeed(entry: dict) -> None:
    """Raise when a run failed."""
    assert entry["status"]["status_str"] == "success", entry["status"]
