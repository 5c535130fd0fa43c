import json

import pytest
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


def a_grant(namespace="platform", source="acme"):
    return {
        "apiVersion": "gateway.networking.k8s.io/v1beta1",
        "kind": "ReferenceGrant",
        "metadata": {"name": "hooks", "namespace": namespace},
        "spec": {
            "from": [{"group": "hookline.dev", "kind": "WebhookSubscription", "namespace": source}],
            "to": [{"group": "", "kind": "Service"}],
        },
    }


def a_config_map(name="ca", key="ca.crt"):
    data = {key: "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "acme"}, "data": data}


def a_subscription_that_refers():
    tls = {"caRef": {"name": "ca"}, "serverName": "notifier"}
    route = a_route()
    elsewhere = {"name": "analytics", "namespace": "platform", "port": 9000}
    return a_subscription({**route, "handler": {"serviceRef": elsewhere, "tls": tls}})


@pytest.mark.parametrize(
    ("beside", "errors", "warnings"),
    [
        ([], [], ["CANotFound", "RefNotPermitted"]),
        ([a_config_map(), a_grant()], [], []),
        ([a_config_map(), a_grant(source="other")], ["RefNotPermitted"], []),
        ([a_config_map(key="tls.crt"), a_grant()], ["CANotFound"], []),
        ([a_config_map("other"), a_grant("other")], [], ["CANotFound", "RefNotPermitted"]),
    ],
    ids=["neither there", "both right", "grant for others", "another key", "others"],
)
def test_what_the_files_do_not_hold_is_a_warning_and_what_they_hold_wrongly_an_error(
    tmp_path, beside, errors, warnings
):
    """A tenant's files hold neither the platform's grants nor what its tools make; that must not fail the tenant's check."""
    file = tmp_path / "acme.yaml"
    file.write_text(as_yaml(a_secret(), a_subscription_that_refers(), *beside))

    done = check("-f", file, "--json")

    problems = [each for each in map(json.loads, done.stdout.splitlines()) if "severity" in each]
    assert sorted(each["reason"] for each in problems if each["severity"] == "error") == errors
    assert sorted(each["reason"] for each in problems if each["severity"] == "warning") == warnings
    assert done.exit_code == bool(errors)
    said = [each["message"] for each in problems if each["severity"] == "warning"]
    assert all(each.endswith(" (it is not in these files; the cluster may have it)") for each in said)


def test_of_files_that_are_all_there_is_everything_missing_is_an_error(tmp_path):
    """Whoever keeps a whole cluster's objects in one place wants to know before it is applied."""
    file = tmp_path / "acme.yaml"
    file.write_text(as_yaml(a_subscription_that_refers()))

    done = check("-f", file, "--self-contained")

    assert done.exit_code == 1
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["error"] * 3
