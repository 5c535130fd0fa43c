"""`hookline status`, also as `kubectl hookline status`."""

from collections.abc import Sequence
from dataclasses import asdict

import click

from hookline_cli.failure import FAILED, USAGE, Failure
from hookline_cli.output import print_json, print_table, printable
from hookline_cli.status.cluster import Access, Cluster
from hookline_cli.status.explaining import Explanation, explain


@click.command()
@click.argument("name", required=False)
@click.option("-n", "--namespace", help="Namespace; without it, that of the context.")
@click.option("-A", "--all-namespaces", is_flag=True, help="All namespaces.")
@click.option("--gateway", is_flag=True, help="WebhookGateways instead of WebhookSubscriptions.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="json: one object a line.")
@click.option("--kubeconfig", default="", metavar="FILE", help="Instead of what KUBECONFIG says.")
@click.option("--context", default="", help="A context of the kubeconfig other than the current one.")
def command(
    name: str | None,
    namespace: str | None,
    all_namespaces: bool,
    gateway: bool,
    output: str,
    kubeconfig: str,
    context: str,
) -> None:
    """
    Say of each subscription why it is not ready, and what to do.

    Reads WebhookSubscriptions of a cluster (one by NAME, or all of a namespace) and explains what the operator wrote into
    their status. Exit status 0 if all are ready, 1 if one is not or there is none by that name, 3 if the cluster can't be
    asked.
    """
    if name and all_namespaces:
        raise Failure("a NAME belongs to one namespace: give -n, not -A", USAGE)
    cluster = Cluster(Access(kubeconfig, context))
    kind = "WebhookGateway" if gateway else "WebhookSubscription"
    place = "" if all_namespaces else namespace or cluster.namespace
    items = [cluster.one(kind, place, name)] if name else list(cluster.all(kind, place))
    found = [explain(item) for item in items]
    if output == "json":
        for each in found:
            print_json(asdict(each))
    else:
        _print(found, kind, place)
    if not all(each.ready for each in found):
        raise SystemExit(FAILED)


def _print(found: Sequence[Explanation], kind: str, place: str) -> None:
    if not found:
        click.echo(f"no {kind} in {f'the namespace {place}' if place else 'the cluster'}", err=True)
        return
    print_table(
        ("NAMESPACE", "NAME", "READY", "URL"), [(each.namespace, each.name, each.state, each.url) for each in found]
    )
    for each in found:
        for line in _lines(each):
            click.echo(printable(line))


def _lines(found: Explanation) -> list[str]:
    whose = f"{found.namespace}/{found.name}"
    notes = [f"{whose}: {note}" for note in found.notes]
    if found.ready:
        return notes
    return [f"{whose} is not ready: {found.why.rstrip('.')}. What to do: {found.todo}.", *notes]
