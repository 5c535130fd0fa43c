import json

import pytest

from hookline_cli.dev.telling import LogFile, Teller, for_person


def a_line(level: str, message: str = "a table can't be read", **fields: object) -> bytes:
    line = {"time": "2025-06-15T15:06:40.250+00:00", "level": level, "logger": "x.y", "message": message, "pid": 1}
    return json.dumps({**line, **fields}).encode()


def test_a_warning_is_shown_with_its_fields():
    """It says that something needs looking after."""
    shown = for_person("forwarder", a_line("WARNING", file="routes/forwarder.binpb"), verbose=False)

    assert shown.endswith("forwarder WARNING: a table can't be read file=routes/forwarder.binpb")


@pytest.mark.parametrize(("verbose", "shown"), [(False, False), (True, True)], ids=["quiet", "verbose"])
def test_what_is_normal_is_shown_only_when_asked_for(verbose, shown):
    """A line for each event would bury what matters."""
    assert bool(for_person("receiver", a_line("INFO"), verbose=verbose)) is shown


@pytest.mark.parametrize("line", [b"Traceback (most recent call last):", b"\xff\x1b[2J", b"[1]", b"{}", b'"x"', b"3"])
def test_what_is_not_one_of_our_lines_is_shown_as_it_is(line):
    """A crash before logging is set up, or a message of the interpreter's: the most important lines of all."""
    shown = for_person("receiver", line, verbose=False)

    assert shown.startswith("receiver: ")
    assert "\x1b" not in shown


def test_files_have_everything(tmp_path):
    """For looking back."""
    said = []
    teller = Teller(tmp_path, said.append, verbose=False)

    for line in (a_line("INFO"), a_line("ERROR")):
        teller.line("receiver", line)
    teller.close()

    assert (tmp_path / "receiver.log").read_bytes() == a_line("INFO") + b"\n" + a_line("ERROR") + b"\n"
    assert len(said) == 1


def test_a_log_does_not_grow_for_ever(tmp_path):
    """`hookline dev` may run for weeks."""
    log = LogFile(tmp_path / "receiver.log", largest=100)

    for number in range(100):
        log.write(b"%03d %s" % (number, b"x" * 20))
    log.close()

    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["receiver.log", "receiver.log.1"]
    assert all(file.stat().st_size <= 125 for file in files)
    assert b"099" in files[0].read_bytes()
