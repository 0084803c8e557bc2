"""What a step tells while it works: a line now and then, and on a terminal one that is kept up to date."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator

import pytest
from claire.core.command.progress import about, progress


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that moves by six seconds whenever somebody looks at it."""
    now = iter(range(0, 10_000, 6))
    monkeypatch.setattr("claire.core.command.progress.time.monotonic", lambda: float(next(now)))


def test_a_log_gets_a_line_every_ten_seconds_and_one_at_the_end(clock: None, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "claire"):
        assert [*progress("abcd", "scans")] == [*"abcd"]
    assert caplog.messages == ["scans 2/4", "scans 4/4", "scans: 4 in 36.0 s"]


def test_a_terminal_keeps_one_line_and_clears_it(clock: None, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr("claire.core.command.progress.log", logging.Logger("quiet"))
    assert [*progress("ab", "scans")] == [*"ab"]
    assert terminal.getvalue() == "\rscans 1/2\rscans 2/2\r\033[K"


def test_items_whose_number_is_not_known_are_counted(clock: None, caplog: pytest.LogCaptureFixture) -> None:
    def items() -> Iterator[int]:
        yield from range(2)

    with caplog.at_level(logging.INFO, "claire"):
        assert [*progress(items(), "runs")] == [0, 1]
        assert [*progress(items(), "runs", total=2)] == [0, 1]
    assert [message for message in caplog.messages if "/" in message or message == "runs 2"] == ["runs 2", "runs 2/2"]


def test_nothing_to_do_is_said_too(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "claire"):
        assert [*progress([], "scans")] == []
    assert caplog.messages == ["scans: 0 in 0.0 s"]


def test_an_error_of_the_work_passes_through() -> None:
    items = progress([1, 2], "scans")
    next(items)
    with pytest.raises(KeyError):
        items.throw(KeyError())


def test_lines_begin_with_what_the_step_works_on() -> None:
    root, stream = logging.getLogger(), io.StringIO()
    before, handler = root.handlers[:], logging.StreamHandler(stream)
    try:
        root.handlers[:] = [handler]
        about("ingest", "0003")
        logging.getLogger("claire").warning("told")
    finally:
        root.handlers[:] = before
    assert stream.getvalue().endswith(" claire ingest 0003: told\n")
