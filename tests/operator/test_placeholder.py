import subprocess
import sys


def test_who_starts_the_operator_already_is_told_what_there_is_instead() -> None:
    """A command that does nothing must not look as if it did."""
    done = subprocess.run([sys.executable, "-m", "hookline_operator"], capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "hookline dev" in done.stderr
