"""What can be set, and how a mistake is told."""

from pathlib import Path

import pytest

from hookline_receiver.settings import PREFIX, SettingsError, from_environment


def settings_of(**variables: str):  # type: ignore[no-untyped-def]
    return from_environment({f"{PREFIX}{name}": value for name, value in variables.items()} | {"PATH": "/bin"})


def test_the_defaults_need_a_data_folder_only() -> None:
    """All files are under it."""
    settings = settings_of(DATA_DIR="/data")

    assert (settings.journals, settings.routes) == (Path("/data/journal"), Path("/data/routes/receiver.binpb"))
    assert (settings.pending, settings.run) == (Path("/data/share/pending.binpb"), Path("/data/run"))
    assert settings.append_timeout == 1.5


def test_every_kind_of_value_is_read() -> None:
    """Paths, numbers, yes or no, lists; those of the HTTP server without a further prefix."""
    settings = settings_of(
        DATA_DIR="/data", RUN_DIR="/run/x", APPEND_TIMEOUT="0.5", CREDENTIALS_REMEMBERED="5", LOG_LEVEL="ERROR",
        BIND="0.0.0.0:80", WORKERS="3", REUSE_PORT="true", TRUSTED_PROXIES="10.0.0.0/8, 127.0.0.1",
    )  # fmt: skip

    assert (settings.run, settings.append_timeout, settings.credentials_remembered) == (Path("/run/x"), 0.5, 5)
    assert (settings.edge.bind, settings.edge.workers, settings.edge.reuse_port) == ("0.0.0.0:80", 3, True)
    assert settings.edge.trusted_proxies == ("10.0.0.0/8", "127.0.0.1")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "HOOKLINE_RECEIVER_DATA_DIR must be set"),
        ({"DATA_DIR": "/d", "APPEND_TIMEOUTS": "1"}, "HOOKLINE_RECEIVER_APPEND_TIMEOUTS is not a setting"),
        ({"DATA_DIR": "/d", "EDGE": "1"}, "HOOKLINE_RECEIVER_EDGE is not a setting"),
        ({"DATA_DIR": "/d", "APPEND_TIMEOUT": "2"}, r"append_timeout must be shorter than .* \(2 s\), got 2"),
        ({"DATA_DIR": "/d", "APPEND_TIMEOUT": "fast"}, "APPEND_TIMEOUT must be a number, got 'fast'"),
        ({"DATA_DIR": "/d", "WORKERS": "two"}, "WORKERS must be a whole number, got 'two'"),
        ({"DATA_DIR": "/d", "WORKERS": "0"}, "workers must be more than 0, got 0"),
        ({"DATA_DIR": "/d", "REUSE_PORT": "maybe"}, "REUSE_PORT must be true or false, got 'maybe'"),
        ({"DATA_DIR": "/d", "OPS_BIND": "8081"}, "ops_bind must be HOST:PORT, got '8081'"),
        ({"DATA_DIR": "/d", "LOG_LEVEL": "LOUD"}, "log_level must be .*, got 'LOUD'"),
        ({"DATA_DIR": "/d", "METRICS_SUBSCRIPTIONS": "-1"}, "metrics_subscriptions must be 0 to 10000, got -1"),
        ({"DATA_DIR": "/d", "SLOW_HASHES_WAITING": "0"}, "slow_hashes_waiting must be 1 or more, got 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_is_told_in_one_line(variables: dict[str, str], message: str) -> None:
    """The variable, the rule and the value: a typo must not be a default in silence."""
    with pytest.raises(SettingsError, match=message):
        settings_of(**variables)
