"""The main job in one command: a clip through the whole engine into a file, with sound, and a picture to compare.

    python3 tools/main_job.py                        the example clip with the stand-in weights
    python3 tools/main_job.py IN OUT --weights FILE  your own; further options as for tools/upscale.py

Builds its environment first where that is missing. The stand-in weights restore nothing: they show that every part
works together. ComfyUI is not involved yet.
"""

from __future__ import annotations

import sys
from pathlib import Path

from environment import ENV, ROOT, reexec_inside

WORK = ROOT / ".work"
CLIP, WEIGHTS, RESULT, COMPARISON = (
    WORK / name for name in ("example.mp4", "stand_in.safetensors", "example_upscaled.mp4", "example_comparison.png")
)
RESOLUTION = "240"


def main(arguments: list[str]) -> int:
    """Run the job and say where the result is."""
    import upscale

    if arguments:
        return upscale.main(arguments)
    prepare_example()
    code = upscale.main([str(CLIP), str(RESULT), "--weights", str(WEIGHTS), "--jobs", str(WORK / "jobs"),
                         "--resolution", RESOLUTION])  # fmt: skip
    if code == upscale.DONE:
        compare()
        print(f"Done. Result: {RESULT.relative_to(ROOT)}, comparison: {COMPARISON.relative_to(ROOT)}")
    return code


def prepare_example() -> None:
    """Make clip and weights unless they are there."""
    import example_clip
    import stand_in

    WORK.mkdir(exist_ok=True)
    if not CLIP.exists():
        example_clip.write_example(CLIP)
    if not WEIGHTS.exists():
        stand_in.save(WEIGHTS)


def compare() -> None:
    """Source, enlarged without restoring, beside the result: the middle frame of the clip."""
    from PIL import Image
    from seedvr2_anywhere import media

    def middle(path: Path) -> Image.Image:
        frames = [frame for batch in media.read(path) for frame in batch[0]]
        return Image.fromarray(frames[len(frames) // 2])

    after = middle(RESULT)
    before = middle(CLIP).resize(after.size, Image.Resampling.BICUBIC)
    both = Image.new("RGB", (2 * after.width + 8, after.height), "white")
    both.paste(before, (0, 0))
    both.paste(after, (after.width + 8, 0))
    both.save(COMPARISON)


if __name__ == "__main__":
    ENV.mkdir(exist_ok=True)
    reexec_inside()
    raise SystemExit(main(sys.argv[1:]))
