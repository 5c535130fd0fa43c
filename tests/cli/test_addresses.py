import pytest
from click.testing import CliRunner

from hookline.routing.v1 import snapshot_pb2 as routing
from hookline_cli.dev.addresses import ServiceAddress, ServiceAddressType, endpoint_table, unused


def a_snapshot(*handlers: tuple[str, str, int]) -> routing.ForwarderSnapshot:
    snapshot = routing.ForwarderSnapshot(format=1)
    subscription = snapshot.subscriptions.add()
    for namespace, service, port in handlers:
        subscription.routes.add(handler=routing.Handler(namespace=namespace, service=service, port=port))
    return snapshot


def addresses(table: routing.EndpointTable) -> dict[tuple[str, str, int], list[str]]:
    return {(one.namespace, one.service, one.port): list(one.addresses) for one in table.services}


def test_a_service_is_looked_for_on_this_machine_at_its_port():
    """The least that one must say: nothing."""
    table = endpoint_table(a_snapshot(("acme", "notifier", 9000), ("acme", "notifier", 9001)), [])

    assert table.format == 1
    assert addresses(table) == {
        ("acme", "notifier", 9000): ["127.0.0.1:9000"],
        ("acme", "notifier", 9001): ["127.0.0.1:9001"],
    }


def test_what_is_given_for_a_namespace_goes_before_what_is_given_for_the_name():
    """Two tenants may call their handlers the same."""
    snapshot = a_snapshot(("acme", "notifier", 9000), ("globex", "notifier", 9000))
    given = [ServiceAddress("notifier", "", "10.0.0.1:1"), ServiceAddress("notifier", "globex", "10.0.0.2:2")]

    assert addresses(endpoint_table(snapshot, given)) == {
        ("acme", "notifier", 9000): ["10.0.0.1:1"],
        ("globex", "notifier", 9000): ["10.0.0.2:2"],
    }


def test_several_addresses_of_one_service_are_its_endpoints():
    """So that one can see how load is spread."""
    given = [ServiceAddress("notifier", "", address) for address in ("h:2", "h:1", "h:2")]

    assert addresses(endpoint_table(a_snapshot(("acme", "notifier", 9000)), given)) == {
        ("acme", "notifier", 9000): ["h:1", "h:2"]
    }


def test_a_table_is_the_same_whatever_the_order():
    """Equal content must be equal bytes: nothing is written without need."""
    services = [("a", "x", 1), ("b", "y", 2), ("a", "x", 3)]

    one, other = endpoint_table(a_snapshot(*services), []), endpoint_table(a_snapshot(*reversed(services)), [])

    assert one.SerializeToString() == other.SerializeToString()


def test_an_address_that_no_route_goes_by_is_noticed():
    """A typing mistake in --handler would otherwise look like a dead handler."""
    given = [
        ServiceAddress("notifier", "", "h:1"),
        ServiceAddress("notifier", "acme", "h:1"),
        ServiceAddress("notifier", "globex", "h:1"),
        ServiceAddress("notfier", "", "h:1"),
    ]

    assert unused(a_snapshot(("acme", "notifier", 9000)), given) == given[2:]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("notifier=127.0.0.1:9000", ServiceAddress("notifier", "", "127.0.0.1:9000")),
        ("notifier.acme=host:1", ServiceAddress("notifier", "acme", "host:1")),
        ("notifier=[::1]:9000", ServiceAddress("notifier", "", "[::1]:9000")),
    ],
)
def test_an_address_is_read(text, address):
    """NAME[.NAMESPACE]=HOST:PORT."""
    assert ServiceAddressType().convert(text, None, None) == address


@pytest.mark.parametrize(
    "text", ["", "notifier", "notifier=", "=h:1", "notifier=h", "notifier=h:0", "notifier=h:70000", "notifier.=h:1"]
)
def test_a_malformed_address_is_a_usage_error_that_shows_it(text):
    """Before anything is started."""
    from hookline_cli.dev.command import command

    done = CliRunner().invoke(command, ["-f", ".", "--handler", text])

    assert done.exit_code == 2
    assert f"{text!r} is not NAME[.NAMESPACE]=HOST:PORT" in done.stderr
