import asyncio
import stat

import pytest

from hookline.routing.v1.snapshot_pb2 import ForwarderSnapshot, ReceiverSnapshot
from hookline_cli.dev.addresses import endpoint_table
from hookline_cli.dev.announcing import announcement
from hookline_cli.dev.compiling import compile_paths
from hookline_cli.dev.keyring import Keyring
from hookline_cli.dev.publishing import Publication, publish
from hookline_cli.manifest_files import files_of, stamp_of
from hookline_routes.verifier import credential_bytes, proof_matches
from support.manifests import PASSWORD, USERNAME, a_secret, a_subscription, as_yaml


@pytest.fixture
def keys(tmp_path):
    folder = tmp_path / "keys"
    folder.mkdir()
    return folder


@pytest.fixture
def file(tmp_path):
    return tmp_path / "acme.yaml"


def verifiers(compilation):
    return [verifier for endpoint in compilation.tables.receiver.endpoints for verifier in endpoint.verifiers]


def test_a_chosen_password_opens_the_endpoint_and_the_same_bytes_come_after_a_restart(file, keys):
    """A restart must hash nothing anew, and publish nothing anew."""
    file.write_text(as_yaml(a_secret(), a_subscription()))

    first = compile_paths([file], Keyring(keys))
    second = compile_paths([file], Keyring(keys))

    (verifier,) = verifiers(first)
    assert proof_matches(verifier, credential_bytes(USERNAME, PASSWORD))
    assert first.tables.receiver.SerializeToString() == second.tables.receiver.SerializeToString()


def test_a_changed_password_gets_another_verifier(file, keys):
    """Else the old one would stay valid."""
    file.write_text(as_yaml(a_secret(), a_subscription()))
    compile_paths([file], Keyring(keys))
    file.write_text(as_yaml(a_secret(password="another1"), a_subscription()))

    (verifier,) = verifiers(compile_paths([file], Keyring(keys)))

    assert proof_matches(verifier, credential_bytes(USERNAME, "another1"))
    assert not proof_matches(verifier, credential_bytes(USERNAME, PASSWORD))


def test_a_subscription_without_a_secret_gets_a_password_that_stays(file, keys):
    """What was entered at CometChat must hold after a restart."""
    file.write_text(as_yaml(a_subscription(secrets=())))

    first, second = (compile_paths([file], Keyring(keys)) for _ in range(2))

    (verifier,) = verifiers(first)
    generated = (keys / "generated" / "acme.chat").read_text().strip()
    assert proof_matches(verifier, generated.encode())
    assert verifier.WhichOneof("proof") == "sha256"
    assert verifiers(second) == [verifier]
    username, _, password = generated.partition(":")
    assert username.isalnum()
    assert password.isalnum()
    assert (len(username) <= 50, 22 <= len(password) <= 100) == (True, True)


def test_keys_are_readable_by_their_owner_alone_and_hold_no_chosen_password(file, keys):
    """They are worth as much as the passwords."""
    file.write_text(as_yaml(a_secret(), a_subscription(), a_subscription(name="other", secrets=())))
    compile_paths([file], Keyring(keys))

    files = [path for path in keys.rglob("*") if path.is_file()]
    assert len(files) == 4
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert PASSWORD.encode() not in path.read_bytes()


def test_a_damaged_verifier_is_made_anew(file, keys):
    """A file cut short by a power loss must not keep the endpoint shut."""
    file.write_text(as_yaml(a_secret(), a_subscription()))
    compile_paths([file], Keyring(keys))
    (kept,) = (keys / "verifiers").iterdir()
    kept.write_bytes(b"\xff\xff")

    (verifier,) = verifiers(compile_paths([file], Keyring(keys)))

    assert proof_matches(verifier, credential_bytes(USERNAME, PASSWORD))


def test_what_is_announced_says_where_credentials_are_and_never_what_they_are(file, keys):
    """Terminals are recorded and shared."""
    file.write_text(as_yaml(a_secret(), a_subscription(), a_subscription(name="other", secrets=())))
    keyring = Keyring(keys)
    compilation = compile_paths([file], keyring)
    endpoints = endpoint_table(compilation.tables.forwarder, [])

    said = "\n".join(announcement(compilation, endpoints, "http://127.0.0.1:8080", keyring.generated_file))

    assert "http://127.0.0.1:8080/acme/chat  acme/chat" in said
    assert f"Secret acme/cometchat, {file}:4" in said
    assert str(keys / "generated" / "acme.other") in said
    assert "main -> handler.acme:9000 at 127.0.0.1:9000" in said
    generated = (keys / "generated" / "acme.other").read_text().strip().partition(":")[2]
    assert PASSWORD not in said
    assert generated not in said


async def test_only_what_changes_is_written(file, keys, tmp_path):
    """Readers look at the file's time; a reload for nothing costs them."""
    file.write_text(as_yaml(a_secret(), a_subscription()))
    compilation = compile_paths([file], Keyring(keys))
    publication = Publication(compilation.tables, endpoint_table(compilation.tables.forwarder, []))
    routes = tmp_path / "routes"
    routes.mkdir()

    await publish(routes, publication, running=False)
    before = {path.name: path.stat().st_ino for path in routes.iterdir()}
    await publish(routes, publication, running=False)

    assert set(before) == {"receiver.binpb", "forwarder.binpb", "endpoints.binpb"}
    assert {path.name: path.stat().st_ino for path in routes.iterdir()} == before


@pytest.mark.parametrize(
    ("before", "after"),
    [(("one",), ("one", "two")), (("one", "two"), ("one",)), (("one",), ("two",))],
    ids=["added", "removed", "exchanged"],
)
async def test_the_forwarder_knows_every_subscription_whose_events_are_taken(file, keys, tmp_path, before, after):
    """An event of a subscription that it does not know is kept and goes nowhere, although it was answered 200."""
    routes = tmp_path / "routes"
    routes.mkdir()

    async def put_in_force(names, *, running):
        file.write_text(as_yaml(a_secret(), *(a_subscription(name=name) for name in names)))
        tables = compile_paths([file], Keyring(keys)).tables
        await publish(routes, Publication(tables, endpoint_table(tables.forwarder, [])), running=running)

    def unknown():
        receiver = ReceiverSnapshot.FromString((routes / "receiver.binpb").read_bytes())
        forwarder = ForwarderSnapshot.FromString((routes / "forwarder.binpb").read_bytes())
        taken = {one.subscription.name for one in receiver.endpoints}
        return taken - {one.ref.name for one in forwarder.subscriptions}, taken

    await put_in_force(before, running=False)
    changing = asyncio.create_task(put_in_force(after, running=True))
    seen = []
    while not changing.done():
        seen.append(unknown())
        await asyncio.sleep(0.01)
    await changing

    assert all(missing == set() for missing, _ in seen)
    assert seen[0] == (set(), set(before))
    assert unknown() == (set(), set(after))
    forwarder = ForwarderSnapshot.FromString((routes / "forwarder.binpb").read_bytes())
    assert [one.ref.name for one in forwarder.subscriptions] == list(after)


def test_a_folder_s_manifests_are_taken_by_name_and_once(tmp_path):
    """As kubectl does it."""
    for name in ("b.yaml", "a.yml", "c.json", "notes.txt", ".hidden.yaml"):
        (tmp_path / name).write_text("")
    (tmp_path / "deeper.yaml").mkdir()

    found = files_of([tmp_path / "b.yaml", tmp_path])

    assert [path.name for path in found] == ["b.yaml", "a.yml", "c.json"]


@pytest.mark.parametrize("change", ["content", "replaced", "added", "removed"])
def test_every_change_is_noticed(tmp_path, change):
    """An editor may write in place or rename over; a file may come or go."""
    file = tmp_path / "a.yaml"
    file.write_text("one")
    before = stamp_of([tmp_path])

    match change:
        case "content":
            file.write_text("other")
        case "replaced":
            (tmp_path / "new").write_text("one")
            (tmp_path / "new").replace(file)
        case "added":
            (tmp_path / "b.yaml").write_text("")
        case "removed":
            file.unlink()

    assert stamp_of([tmp_path]) != before
