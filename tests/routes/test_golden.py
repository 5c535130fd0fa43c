"""Every rule has a golden file: manifests in, problems, conditions and tables out."""

from pathlib import Path

import pytest

from hookline_routes.compile import compile
from hookline_routes.inputs import Inputs
from hookline_routes.manifest import read_manifests
from support.routes import GOLDEN, bytes_of, golden_inputs, golden_output

FILES = sorted(GOLDEN.glob("*.in.yaml"))


def reversed_inputs(inputs: Inputs) -> Inputs:
    return Inputs(
        **{
            name: value[::-1] if isinstance(value := getattr(inputs, name), tuple) else value
            for name in inputs.__dataclass_fields__
        }
    )


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name.removesuffix(".in.yaml"))
def test_manifests_come_to_what_is_written_down(file: Path) -> None:
    """A change of a message or a table is seen in review; `PYTHONPATH=tests python -m support.routes` writes them anew."""
    expected = file.with_name(file.name.replace(".in.", ".out.")).read_text()

    assert golden_output(file) == expected


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name.removesuffix(".in.yaml"))
def test_the_order_of_the_objects_does_not_show(file: Path) -> None:
    """Watches deliver objects in any order, and every replica must publish the same bytes."""
    text = file.read_text()
    inputs = golden_inputs(read_manifests({file.name: text}), text)

    forwards, backwards = compile(inputs), compile(reversed_inputs(inputs))

    assert bytes_of(forwards) == bytes_of(backwards)
    assert forwards.reports == backwards.reports


def test_there_is_an_output_for_each_input() -> None:
    """An output without an input holds nothing any more."""
    outputs = {file.name.replace(".out.", ".in.") for file in GOLDEN.glob("*.out.yaml")}

    assert outputs == {file.name for file in FILES}
