import argparse
import logging
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from hookline_kit import TLS, Accepted, ServerSettings
from hookline_kit.program import Flags, LineFormatter, add_server_flags, server_settings
from hookline_kit.testing import HandlerClient, a_delivery
from support.handlers import a_body

GREETER = textwrap.dedent(
    """
    import argparse, sys
    from hookline_kit import Handler
    from hookline_kit.program import Flags, add_server_flags, serve

    parser = argparse.ArgumentParser("greeter")
    add_server_flags(Flags(parser, "GREETER"))
    handler = Handler()
    handler.default(lambda event: print("hello", flush=True))
    sys.exit(serve(handler, parser.parse_args()))
    """
)


def parse(*arguments: str, **environ: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser("greeter")
    add_server_flags(Flags(parser, "greeter", environ))
    return parser.parse_args(arguments)


def a_greeter(tmp_path: Path, **environ: str) -> subprocess.Popen[str]:
    file = tmp_path / "greeter.py"
    file.write_text(GREETER)
    environment = {**os.environ, **environ}
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, str(file)], stdout=pipe, stderr=pipe, text=True, env=environment)


def test_a_setting_comes_from_the_flag_else_the_environment_else_the_default():
    """A deployment sets variables, a person at a terminal types flags."""
    assert server_settings(parse()) == ServerSettings(host="127.0.0.1", port=9000)
    assert server_settings(parse(GREETER_PORT="9100")).port == 9100
    assert server_settings(parse("--port", "9200", GREETER_PORT="9100")).port == 9200


def test_a_required_flag_may_come_from_the_environment():
    """Or a container would need its command line changed for each setting."""
    parser = argparse.ArgumentParser("greeter")
    Flags(parser, "GREETER", {"GREETER_DIRECTORY": "people.json"}).add("--directory", required=True, help="people")

    assert parser.parse_args([]).directory == "people.json"


def test_a_setting_of_the_wrong_type_is_named(capsys):
    """The message must say which of thirty variables is wrong."""
    with pytest.raises(SystemExit):
        parse(GREETER_PORT="high")

    assert "--port" in capsys.readouterr().err


def test_a_value_of_the_environment_must_be_one_of_the_choices(capsys):
    """argparse looks at choices only on the command line."""
    with pytest.raises(SystemExit):
        parse(GREETER_LOG_LEVEL="loud")

    assert "GREETER_LOG_LEVEL: 'loud' is not one of DEBUG" in capsys.readouterr().err


def test_tls_takes_a_certificate_with_its_key():
    """With one of the two alone the handler would serve in plain text and nobody would know."""
    both = parse("--tls-certificate", "c.pem", "--tls-key", "k.pem", "--tls-client-ca", "a.pem")

    assert server_settings(both).tls == TLS(Path("c.pem"), Path("k.pem"), Path("a.pem"))
    for alone in ("--tls-certificate", "--tls-key", "--tls-client-ca"):
        with pytest.raises(ValueError, match="need"):
            server_settings(parse(alone, "x.pem"))


def test_a_log_line_is_the_sentence_and_its_fields():
    """Fields are what one searches logs by."""
    record = logging.makeLogRecord({"levelname": "INFO", "name": "greeter", "msg": "mail sent", "delivery_id": "e/r"})

    assert LineFormatter("%(levelname)s %(name)s: %(message)s").format(record) == (
        "INFO greeter: mail sent delivery_id=e/r"
    )


async def test_a_program_says_where_it_listens_and_ends_with_0_on_sigterm(tmp_path):
    """Whoever starts it on port 0 must learn the port, and Kubernetes stops it by SIGTERM."""
    with a_greeter(tmp_path, GREETER_PORT="0") as process:
        assert process.stderr is not None
        said = next(line for line in process.stderr if line.startswith("listening on "))
        async with HandlerClient(said.split()[-1]) as client:
            assert await client.deliver(a_delivery(a_body())) == [Accepted()]
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=20)

    assert process.returncode == 0
    assert out == "hello\n"


async def test_a_program_that_cannot_listen_says_so_and_ends_with_3(tmp_path):
    """No traceback: the message is the whole story."""
    with a_greeter(tmp_path, GREETER_PORT="0") as first:
        assert first.stderr is not None
        port = next(line for line in first.stderr if line.startswith("listening on ")).strip().rpartition(":")[2]
        with a_greeter(tmp_path, GREETER_PORT=port) as second:
            _, said = second.communicate(timeout=20)
        first.terminate()
        first.communicate(timeout=20)

    assert second.returncode == 3
    assert f"can't serve: can't listen on 127.0.0.1:{port}" in said
    assert "Traceback" not in said
