import json

from click.testing import CliRunner, Result

from hookline_cli.main import cli
from support.manifests import PASSWORD, a_route, a_secret, a_subscription, as_yaml


def check(*args: object) -> Result:
    return CliRunner().invoke(cli, ["check", *(str(arg) for arg in args)])


def test_good_manifests_are_shown_as_accepted(tmp_path):
    """What the operator would say, before there is one."""
    file = tmp_path / "acme.yaml"
    file.write_text(as_yaml(a_secret(), a_subscription()))

    done = check("-f", file)

    assert (done.exit_code, done.stderr) == (0, "")
    assert "WebhookSubscription\tacme/chat\tyes\tyes" in done.stdout


def test_a_mistake_is_named_with_file_line_and_field(tmp_path):
    """So that an editor can jump to it."""
    file = tmp_path / "acme.yaml"
    file.write_text(as_yaml(a_secret(), a_subscription(a_route(port=99999))))
    line = file.read_text().split("\n").index("        port: 99999") + 1

    done = check("-f", file)

    assert done.exit_code == 1
    assert (
        f"error: {file}:{line}: WebhookSubscription acme/chat: spec.routes[0].handler.serviceRef.port: " in done.stderr
    )


def test_every_mistake_is_said_once_and_errors_come_first(tmp_path):
    """One run should be enough to mend all."""
    routes = [a_route("a", timeout="x"), a_route("a")]
    (tmp_path / "one.yaml").write_text(as_yaml(a_subscription(a_route(), secrets=("missing",))))
    (tmp_path / "two.yaml").write_text(as_yaml(a_subscription(*routes, name="other", secrets=())))

    said = check("-f", tmp_path).stderr.splitlines()

    assert len(said) == len(set(said))
    assert [line.partition(":")[0] for line in said] == sorted(line.partition(":")[0] for line in said)
    assert any("missing does not exist" in line for line in said)
    assert any("two.yaml" in line and "timeout" in line for line in said)


def test_warnings_alone_are_not_a_failure(tmp_path):
    """A Secret may come later; the subscription is served with 503 until then."""
    file = tmp_path / "acme.yaml"
    file.write_text(as_yaml(a_subscription(secrets=("missing",))))

    done = check("-f", file)

    assert done.exit_code == 0
    assert done.stderr.startswith("warning: ")


def test_a_subscription_without_a_secret_is_fine(tmp_path):
    """The operator makes one."""
    file = tmp_path / "acme.yaml"
    file.write_text(as_yaml(a_subscription(secrets=())))

    done = check("-f", file)

    assert (done.exit_code, done.stderr) == (0, "")
    assert "WebhookSubscription\tacme/chat\tyes\tyes" in done.stdout


def test_json_has_objects_and_problems(tmp_path):
    """For scripts."""
    file = tmp_path / "acme.yaml"
    file.write_text(as_yaml(a_subscription(secrets=("missing",))))

    report, problem = map(json.loads, check("-f", file, "--json").stdout.splitlines())

    assert (report["kind"], report["namespace"], report["name"]) == ("WebhookSubscription", "acme", "chat")
    assert report["conditions"][0] == {"type": "Accepted", "status": True, "reason": "Accepted", "message": ""}
    assert (problem["severity"], problem["reason"], problem["file"]) == ("warning", "SecretNotFound", str(file))
    assert problem["line"] > 0


def test_no_password_is_shown(tmp_path):
    """Whatever is wrong with the Secret."""
    file = tmp_path / "acme.yaml"
    file.write_text(as_yaml(a_secret(password=PASSWORD + "!"), a_secret(password=PASSWORD), a_subscription()))

    done = check("-f", file)

    assert done.exit_code == 1
    assert PASSWORD not in done.stdout + done.stderr


def test_what_can_t_be_read_is_one_line_each(tmp_path):
    """A folder without manifests, a file that is not there, one that is not text."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe")

    done = check("-f", tmp_path / "empty", "-f", tmp_path / "nowhere.yaml", "-f", tmp_path / "binary.yaml")

    assert done.exit_code == 1
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert any("nowhere.yaml: No such file" in line for line in lines)
    assert any("binary.yaml: is not UTF-8" in line for line in lines)
    assert "there is no *.yaml" in check("-f", tmp_path / "empty").stderr
