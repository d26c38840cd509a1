"""What a file says about itself, from one container to another: dates, places, cameras, chapters, workflows.

What a container cannot hold is returned as a sentence, so that it can be named to the user.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from fractions import Fraction

from .description import AudioTrack, Chapter, SubtitleTrack
from .muxing import Label
from .output import Tagging
from .presets import Container

# written by muxers about the old file; wrong in a new one
TECHNICAL = re.compile(
    r"^(major_brand|minor_version|compatible_brands|encoder|encoded_by|duration|number_of_(frames|bytes)"
    r"|bps|_statistics.*|timecode|vendor_id|handler_name|creation_time|prompt|workflow)$",
    re.IGNORECASE,
)
LANGUAGE = re.compile(r"^[a-z]{2,3}(-[A-Za-z0-9]+)*$")
ZONE_WITHOUT_COLON = re.compile(r"([+-]\d{2})(\d{2})$")  # as cameras write it; Python 3.10 insists on the colon
CREATION_KEYS = ("creation_time", "com.apple.quicktime.creationdate", "DATE_RECORDED", "date")
WORKFLOW_NAMES = ("prompt", "workflow")


def container_tags(tagging: Tagging, container: Container) -> tuple[dict[str, str], list[str]]:
    """(tags to write, sentences naming what is lost)."""
    if not container.has_tags:
        return {}, _lost(tagging)
    tags = {key: str(value) for key, value in tagging.workflow.items()}
    if tagging.source is None:
        return tags, []
    kept = {key: value for key, value in tagging.source.tags.items() if not TECHNICAL.match(key)}
    for key in CREATION_KEYS:
        if key in kept:
            kept[key] = move_time(kept[key], tagging.start) or kept[key]
    if tagging.source.creation_time:
        created = move_time(tagging.source.creation_time, tagging.start)
        kept["creation_time"] = created or tagging.source.creation_time
    if tagging.source.location:
        kept.setdefault("location", tagging.source.location)
    return kept | tags, []


def move_time(written: str, seconds: Fraction) -> str | None:
    """An ISO 8601 time moved later, in the same zone, with microseconds as FFmpeg writes them; None if it is none."""
    try:
        moment = datetime.fromisoformat(ZONE_WITHOUT_COLON.sub(r"\1:\2", written.strip().replace("Z", "+00:00")))
    except ValueError:
        return None
    if "T" not in written and ":" not in written:
        return None  # a plain date: seconds mean nothing to it
    moved = moment + timedelta(microseconds=round(seconds * 1_000_000))
    if moved.tzinfo in (None, timezone.utc):
        return moved.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return moved.isoformat()


def moved_chapters(chapters: tuple[Chapter, ...], start: Fraction, duration: Fraction) -> list[Chapter]:
    """The chapters of a window, on its clock; those outside are left out, those across an edge cut."""
    inside = [
        replace(chapter, start=max(chapter.start - start, Fraction(0)), end=min(chapter.end - start, duration))
        for chapter in chapters
    ]
    return [chapter for chapter in inside if chapter.end > chapter.start]


def track_label(track: AudioTrack | SubtitleTrack) -> Label:
    """Language, title and rank of a track for its new stream."""
    tags = {"language": track.language} if track.language and LANGUAGE.match(track.language) else {}
    if track.title:
        tags |= {"title": track.title, "handler_name": track.title}
    return Label(tags, track.is_default)


def _lost(tagging: Tagging) -> list[str]:
    present: Mapping[str, bool] = {"the workflow": bool(tagging.workflow)}
    if tagging.source is not None:
        present = present | {
            "date": bool(tagging.source.creation_time),
            "place": bool(tagging.source.location),
            "chapters": bool(tagging.source.chapters),
        }
    named = [name for name, there in present.items() if there]
    return [f"This format cannot hold {', '.join(named)}."] if named else []
