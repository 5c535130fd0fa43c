"""What `python -m notifications serve` says of settings that can't be right."""

import pytest

from notifications.__main__ import main


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--directory", "nobody.json"], "nobody.json"),
        (["--smtp", "mail.example.com"], "is not HOST:PORT"),
        (["--sender", "chat"], "is not a mail address"),
        (["--templates", "nowhere"], "mention.txt"),
        (["--mails-per-minute", "0"], "--mails-per-minute"),
        (["--smtp-password-file", "no.txt"], "no.txt"),
    ],
    ids=["directory", "smtp", "sender", "templates", "rate", "password"],
)
def test_wrong_settings_end_the_program_with_a_message(tmp_path, capsys, arguments, said):
    """No traceback, and no server that can do nothing."""
    people = tmp_path / "people.json"
    people.write_text("{}")
    given = ["serve", "--port", "0", "--data", str(tmp_path), "--directory", str(people), *arguments]

    try:
        status: object = main(given)
    except SystemExit as ended:  # argparse ends by itself
        status = ended.code

    assert status == 2
    assert said in capsys.readouterr().err
