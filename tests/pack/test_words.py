"""Everything that this pack says on the page is there in the languages that it speaks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import pytest
from seedvr2_anywhere.nodes.live_status import SegmentState, Stage, State

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = ("zh",)
LOCALES = ("main.json", "nodeDefs.json", "settings.json")
# texts that are given to what translates them, the second branch of a choice included
SAID = re.compile(r"""\b(?:say|button|act)\(\s*(?:[^'(),]+ \? )?'([^']*[A-Za-z]{2}[^']*)'(?: : '([^']+)')?""")
LABELLED = re.compile(r"""\bsymbol\('[^']+', '([^']+)'""")


def words(language: str) -> dict[str, str]:
    """English → the other language, of what the page's own parts say."""
    return json.loads((ROOT / "js" / "words" / f"{language}.json").read_text(encoding="utf-8"))


def texts_of_the_page() -> set[str]:
    """As they stand in the parts' code."""
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "js" / "parts").glob("*.mjs"))
    return {text for found in SAID.findall(code) for text in found if text} | set(LABELLED.findall(code))


@pytest.mark.parametrize("language", LANGUAGES)
def test_all_that_the_page_says_is_translated_with_its_values(language):
    known = words(language)
    texts = texts_of_the_page()
    assert len(texts) > 50, "the code is not read as it is written any more"
    told = {word for kind in (State, SegmentState, Stage) for word in get_args(kind) if word} - {"stopped"}
    assert texts | told <= known.keys()
    values = re.compile(r"\{\w+\}")
    assert [text for text in known if sorted(values.findall(text)) != sorted(values.findall(known[text]))] == []


def shape(content: object) -> object:
    """The keys of nested objects."""
    return {key: shape(value) for key, value in content.items()} if isinstance(content, dict) else None


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", LOCALES)
def test_what_comfyui_draws_has_the_same_texts_in_each_language(language, name):
    english, other = (
        json.loads((ROOT / "locales" / folder / name).read_text(encoding="utf-8")) for folder in ("en", language)
    )
    assert shape(english) == shape(other)
