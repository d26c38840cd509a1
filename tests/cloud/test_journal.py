"""What was paid is written down before, survives everything, and is read by every process alike."""

from __future__ import annotations

import sqlite3
import threading

import pytest
from seedvr2_anywhere.cloud import errors, journal
from seedvr2_anywhere.cloud.journal import Journal


@pytest.fixture
def book(tmp_path):
    opened = Journal(tmp_path / "journal.db").open()
    yield opened
    opened.close()


def intend(book: Journal, key: str = "key", **changes):
    record = book.intend(book.new_record("alice", key, "run", "1 of 1", 0.25))
    if not changes:
        return record
    book.finish(record.id)
    return book.update(record.id, **changes)


def test_a_row_is_there_before_anything_is_sent_and_again_after_reopening(tmp_path, book):
    record = intend(book)
    again = Journal(tmp_path / "journal.db").open()
    assert again.find("key") == record
    assert record.state == journal.INTENDED


@pytest.mark.parametrize("state", journal.OPEN)
def test_an_open_row_stands_in_the_way_of_another(book, state):
    first = intend(book)
    book.update(first.id, state=state)
    second = book.intend(book.new_record("alice", "key", "run", "1 of 1", 0.25))
    assert second.id == first.id
    assert len(book.records()) == 1


@pytest.mark.parametrize("state", [journal.NOT_SUBMITTED, journal.FAILED, journal.CANCELLED, journal.REPLACED])
def test_an_ended_row_does_not(book, state):
    first = intend(book, state=state)
    assert book.find("key") is None
    assert intend(book).id != first.id


def test_an_unanswered_row_of_a_living_process_is_waited_for_and_of_a_dead_one_unknown(tmp_path, book):
    other = Journal(tmp_path / "journal.db").open()
    intend(other)
    assert book.find("key").state == journal.INTENDED
    other._life.close()  # what the operating system does at death
    assert book.find("key").state == journal.UNKNOWN
    assert book.find("key").owner == other.owner


def test_a_row_whose_sending_is_over_without_a_word_is_unknown_even_in_the_same_process(book):
    record = intend(book)
    assert book.find("key").state == journal.INTENDED
    book.finish(record.id)
    assert book.find("key").state == journal.UNKNOWN


def test_closing_waits_for_the_answer_that_is_still_awaited(tmp_path, book):
    sender = Journal(tmp_path / "journal.db").open()
    record = intend(sender)
    sender.close()
    assert book.find("key").state == journal.INTENDED, "the process still waits for the answer"
    sender.update(record.id, state=journal.SUBMITTED, remote_id="req-1")
    sender.finish(record.id)
    assert not sender._life
    assert book.find("key").remote_id == "req-1"


@pytest.mark.parametrize("state", [journal.UNKNOWN, journal.LOST])
def test_consent_is_for_one_row_by_its_id_and_used_once(book, state):
    record = intend(book, state=state)
    intend(book, "other", state=state)
    assert not book.replace("key", "")
    assert not book.replace("other", record.short_id)
    assert book.replace("key", f" {record.short_id.upper()} ")
    assert not book.replace("key", record.short_id)
    assert [one.state for one in book.records()] == [journal.REPLACED, state]


@pytest.mark.parametrize("state", [journal.INTENDED, journal.SUBMITTED, journal.DONE])
def test_consent_frees_no_row_that_is_alive_or_done(book, state):
    record = intend(book)
    book.update(record.id, state=state)
    assert not book.replace("key", record.short_id)


def test_spending_counts_what_was_reported_else_expected_and_only_what_may_have_cost(book):
    intend(book, "a", state=journal.DONE, cost_usd=1.0)
    intend(book, "b", state=journal.SUBMITTED)
    intend(book, "c", state=journal.UNKNOWN)
    intend(book, "d", state=journal.NOT_SUBMITTED)
    intend(book, "e", state=journal.DONE, created=10.0, cost_usd=5.0)
    assert book.spent_usd(100.0) == pytest.approx(1.5)
    assert book.spent_usd(0.0) == pytest.approx(6.5)


def test_many_threads_intend_one_key_once(tmp_path):
    books = [Journal(tmp_path / "journal.db").open() for _ in range(6)]
    found = []

    def work(one):
        found.append(one.intend(one.new_record("alice", "key", "run", "x", None)).id)

    threads = [threading.Thread(target=work, args=(one,)) for one in books]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(books[0].records()) == 1


def test_many_threads_may_make_the_journal_at_the_same_moment(tmp_path):
    for attempt in range(40):
        troubles, start = [], threading.Barrier(4)

        def work(path, start=start, troubles=troubles):
            start.wait()
            try:
                Journal(path).open().close()
            except errors.NotSubmitted as error:
                troubles.append(str(error))

        threads = [threading.Thread(target=work, args=(tmp_path / f"{attempt}.db",)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert troubles == []


def test_closing_leaves_no_lock_file_and_the_journal_readable(tmp_path):
    book = Journal(tmp_path / "journal.db").open()
    intend(book, state=journal.DONE)
    book.close()
    assert not list(tmp_path.glob("*.alive"))
    assert len(Journal(tmp_path / "journal.db").records()) == 1


def test_a_locked_database_is_waited_for(tmp_path, book):
    with sqlite3.connect(tmp_path / "journal.db", isolation_level=None, check_same_thread=False) as db:
        db.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.3, lambda: db.execute("COMMIT"))
        timer.start()
        assert intend(book).state == journal.INTENDED
        timer.join()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.NotSubmitted, match="journal of paid requests"):
        Journal(tmp_path / "file" / "journal.db").open()
