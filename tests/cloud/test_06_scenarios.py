"""Every fault scenario has tests, and docs/runcomfy.md says what they measured; last of its room, for it looks back."""

from __future__ import annotations

import os

import pytest
from seedvr2_anywhere.tests.cloud import scenarios

MAY_WRITE = "SEEDVR2_WRITE_DOCS"


def test_every_scenario_is_tested_and_the_document_shows_how_many_requests_were_paid(request):
    """Runs after all of them, in one process with them."""
    here = [item for item in request.session.items if item.path.parent == scenarios.HERE]
    numbered = [item for item in here if scenarios.numbers_in(item.name)]
    chosen = request.config.getoption("keyword")
    if chosen or scenarios.all_numbered() - {item.originalname for item in numbered}:
        pytest.skip("only some of the scenarios were run")
    rows = scenarios.table_of((item.name, item.user_properties, True) for item in numbered)
    assert [number for number, row in rows.items() if not row.tests] == []
    if os.environ.get(MAY_WRITE):
        scenarios.write_down(rows)
    shown = {number: (tests, seen) for number, (_, tests, seen) in scenarios.documented().items()}
    assert shown == {number: (str(row.tests), row.seen) for number, row in rows.items()}


def test_a_count_of_posts_is_asserted_only_by_being_found_equal(desk):
    assert desk.posts not in (1, 2)
    assert (desk.posts < 1, desk.posts + 1, desk.asserted) == (True, 1, [])
    assert (desk.posts, desk.asserted) == (0, [0])
