"""What can be set, and what is refused."""

from pathlib import Path

import pytest

from hookline_receiver.forwarder.settings import Settings, SettingsError, settings_from

DATA = {"HOOKLINE_FORWARDER_DATA_DIR": "/data"}


def test_one_folder_is_all_that_must_be_said() -> None:
    """Everything else has a default under it."""
    settings = settings_from(DATA | {"HOOKLINE_RECEIVER_WORKERS": "2", "PATH": "/bin"})

    assert settings == Settings(data_dir=Path("/data"))
    assert settings.store == Path("/data/store/events.db")
    assert settings.admin == Path("/data/run/admin.sock")
    assert settings.routes == Path("/data/routes/forwarder.binpb")


def test_values_have_the_types_of_their_fields() -> None:
    """Paths, numbers and words."""
    settings = settings_from(
        DATA
        | {
            "HOOKLINE_FORWARDER_STORE_FILE": "/fast/events.db",
            "HOOKLINE_FORWARDER_MAX_CALLS": "7",
            "HOOKLINE_FORWARDER_STOP_PATIENCE": "1.5",
            "HOOKLINE_FORWARDER_LOG_LEVEL": "DEBUG",
        }
    )

    assert (settings.store, settings.max_calls, settings.stop_patience, settings.log_level) == (
        Path("/fast/events.db"),
        7,
        1.5,
        "DEBUG",
    )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("TYPO", "1", "HOOKLINE_FORWARDER_TYPO is not a setting"),
        ("MAX_CALLS", "many", "HOOKLINE_FORWARDER_MAX_CALLS must be a number, got 'many'"),
        ("MAX_CALLS", "0", "max_calls must be 1 or more, got 0"),
        ("POLL_INTERVAL", "0", "poll_interval must be above 0"),
        ("LOG_LEVEL", "LOUD", "log_level must be"),
        ("OPS_BIND", "8082", "ops_bind must be HOST:PORT"),
        ("CLIENT_KEY", "/key.pem", "must be set together"),
        ("MESSAGE_BYTES", "10", "message_bytes must be 65536 to"),
    ],
)
def test_what_can_not_be_is_refused_by_name(name: str, value: str, message: str) -> None:
    """A setting that is silently ignored is worse than a pod that does not start."""
    with pytest.raises(SettingsError, match=message):
        settings_from(DATA | {f"HOOKLINE_FORWARDER_{name}": value})


def test_the_data_folder_must_be_said() -> None:
    """There is no good default for where events are kept."""
    with pytest.raises(SettingsError, match="HOOKLINE_FORWARDER_DATA_DIR must be set"):
        settings_from({})
