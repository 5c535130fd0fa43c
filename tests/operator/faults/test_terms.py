"""One replica after the other: what an old leader had under way, and what a new one does not know yet, changes nothing."""

import random

import pytest

from support.churn import Churn
from support.kubernetes.call import Request, matching
from support.kubernetes.faults import Hold, Stall
from support.kubernetes.installation import Installation
from support.published import Publications, Revoked, differences
from support.replicas import two_replicas

watching = matching(verb="watch")
HOUR = "3600"


def tables(request: Request) -> bool:
    """Match what publishes routes."""
    return request.writes and request.resource == "routetables"


@pytest.fixture
def churn(installation: Installation) -> Churn:
    """Three tenants with four subscriptions each."""
    made = Churn(installation.plane, random.Random(7), tenants=3)
    made.begin()
    return made


def revoke_everything(churn: Churn, publications: Publications) -> list[Revoked]:
    """A Secret deleted, a subscription deleted, a password replaced, a Secret off the list; all of it in force."""
    first, second, third, fourth = churn.subscriptions(churn.namespaces[0])[:4]
    done = [churn.delete(churn.secret_of(first)), churn.delete(second)]
    done.append(churn.replace(churn.secret_of(third)))
    unlisted = churn.secret_of(fourth)["metadata"]["uid"]
    churn.name_other_secret(fourth)
    done.append(Revoked(unlisted, at=churn.version()))
    publications.until(lambda now: not any(now.has(each) for each in done), 20, "all of it revoked")
    return done


async def test_a_replica_whose_watches_lag_brings_nothing_back_when_it_leads(
    installation: Installation, publications: Publications, churn: Churn
) -> None:
    """It knows what was so when its watches fell silent, and sweeps once an hour: what was revoked since stays revoked."""
    with two_replicas(installation, sweep_seconds=HOUR) as (replicas, leader, other):
        held = other.proxy.inject(Hold(), watching)
        revoked = revoke_everything(churn, publications)
        for _ in range(40):
            churn.change()
        suspended = [churn.suspend_all(namespace) for namespace in churn.namespaces][-1]
        publications.until(lambda now: all(now.is_suspended(uid) for uid in suspended), 20, "all suspended")
        replicas.wait_quiet()

        before = len(publications.versions)
        leader.kill()
        meanwhile = churn.subscribe(churn.namespaces[1])["metadata"]["uid"]
        churn.delete(churn.secret_of(churn.subscriptions(churn.namespaces[2])[0]))
        replicas.until(other.has_published, 30, "the other one leads")
        publications.until(lambda now: meanwhile in now.subscriptions, 20, "what came between the two")
        new = churn.subscribe(churn.namespaces[2])
        replicas.wait_quiet()
        assert new["metadata"]["uid"] not in publications.now().subscriptions, "its watches do not lag"
        seen = publications.versions[before:]
        assert publications.returned([*revoked, *churn.revoked]) == []
        taking = {uid for each in seen for uid, entry in each.entries.items() if not entry.endpoint.suspended}
        assert taking == {meanwhile}
        print(f"{len(seen)} tables written by a leader whose watches stood still")

        # All that it was not told comes now, in its order, after what it has verified: older news are no news.
        held.lift()
        publications.until(lambda now: new["metadata"]["uid"] in now.subscriptions, 30, "what is new")
        replicas.wait_quiet()
        assert held.hits > 0
        assert publications.returned([*revoked, *churn.revoked]) == []
        assert await differences(installation.plane, installation.namespace) == []


async def test_a_leader_of_old_writes_nothing_when_it_wakes(
    installation: Installation, publications: Publications, churn: Churn
) -> None:
    """
    Stopped in the middle of publishing, for longer than its Lease: what it had in mind is not written.

    What it had sent already and the network kept is refused, where somebody has written that shard since, and undone
    with the next look where nobody has.
    """
    with two_replicas(installation, sweep_seconds="5") as (replicas, leader, other):
        namespace = churn.namespaces[0]
        mark = leader.proxy.mark()
        stalled = leader.proxy.inject(Stall(), tables)
        new = [churn.subscribe(namespace) for _ in range(12)]
        replicas.until(lambda: stalled.hits > 0, 20, "tables under way")
        leader.process.pause()

        for each in new[:6]:
            churn.delete(each)
        replicas.until(other.has_published, 30, "the other one leads")
        uids = {each["metadata"]["uid"] for each in new}
        kept = {each["metadata"]["uid"] for each in new[6:]}
        publications.until(lambda now: now.subscriptions.keys() & uids == kept, 20, "six of twelve")
        revoked = churn.delete(churn.secret_of(new[6]))
        publications.until(lambda now: not now.has(revoked), 20, "revoked")
        replicas.wait_quiet()

        # What hung reaches the API server now: it is refused where somebody has written since, and undone where not.
        stalled.lift()
        replicas.until(lambda: all(seen.ended or seen.status for seen in leader.wrote(mark)), 20, "no call under way")
        late = [seen.status for seen in leader.wrote(mark) if tables(seen.request) and seen.status]
        woken, terms = leader.proxy.mark(), replicas.terms()
        leader.process.resume()
        replicas.until(leader.waits, 30, "the old leader waits")
        replicas.wait_quiet()

        assert replicas.terms() == terms, "the Lease was lost by accident: this machine is too busy"
        assert [(each.request.verb, each.request.target) for each in leader.wrote(woken)] == []
        print(f"writes of the old leader that arrived late were answered {late}")
        assert late
        publications.until(lambda now: now.subscriptions.keys() & uids == kept, 30, "six of twelve, again")
        publications.until(lambda now: not now.has(revoked), 30, "revoked, again")
        assert publications.returned([revoked]) == []

        # And the other way round: it has learned what is so by then, and leads again.
        other.kill()
        replicas.until(leader.has_published, 30, "the old leader leads again")
        again = churn.subscribe(namespace)
        publications.until(lambda now: again["metadata"]["uid"] in now.subscriptions, 20, "what is new")
        replicas.wait_quiet()
        assert await differences(installation.plane, installation.namespace) == []
