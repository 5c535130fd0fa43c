"""The agent against a real API server, with a real receiver and forwarder beside it."""

import hmac
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hookline.routing.v1.table_pb2 import RouteEntry
from hookline_routes.shard import CHUNK_BYTES, shard_of, split
from hookline_routes.verifier import TAG_BYTES, credential_bytes
from support.agent import Pod, a_pod, a_tenant
from support.kubernetes.fixtures import NewPlane
from support.kubernetes.kinds import install_kinds
from support.kubernetes.plane import ControlPlane, PlaneOptions
from support.kubernetes.process import Processes
from support.processes import descendants
from support.rbac import install_agent_rights
from support.receiver import USERNAME, Credential, basic
from support.waiting import until_sync

CHAT, CALLS = a_tenant("chat"), a_tenant("calls")
NEW_KEY = b"the tag key that is mounted next"


@pytest.fixture
def pod(tmp_path: Path, plane: ControlPlane, kinds: None, namespace: str, processes: Processes) -> Iterator[Pod]:
    """A pod whose plane has every table, with one tenant; its agent has the rights of the chart and no others."""
    with a_pod(tmp_path, plane, namespace, processes) as made:
        (made.keys / "token").write_text(install_agent_rights(plane, namespace))
        made.publisher.entries[CHAT.subscription.ref.uid] = CHAT
        made.publisher.publish_all()
        yield made


def test_what_is_published_is_served_and_what_is_revoked_is_refused(pod: Pod) -> None:
    """The whole way, from a table to an answer; the forwarder knows of each subscription first, and forgets it last."""
    pod.start()
    assert (pod.posts("chat"), pod.posts("calls")) == (200, 401)

    pod.publisher.put(CALLS)
    pod.settle()
    assert (pod.posts("chat"), pod.posts("calls")) == (200, 200)

    pod.publisher.put(a_tenant("chat", Credential(password="another0password", version="2")))
    until_sync(lambda: pod.posts("chat") == 401, 5)

    pod.publisher.remove(CALLS)
    until_sync(lambda: pod.posts("calls") == 401, 5)
    pod.settle()
    until_sync(lambda: pod.subscriptions() == {CHAT.subscription.ref.uid}, 5)
    assert pod.agent.ready()
    assert pod.agent.metric("subscriptions") == 1


def test_a_subscription_reaches_the_receiver_only_once_the_forwarder_serves_it(pod: Pod) -> None:
    """An event must not arrive that the forwarder knows no routes of."""
    pod.start()
    pod.forwarder.signal(signal.SIGSTOP)

    pod.publisher.put(CALLS)
    until_sync(lambda: CALLS.subscription.ref.uid in pod.subscriptions(), 10, "written for the forwarder")
    until_sync(lambda: pod.agent.metric("held_back") == 1, 10)
    assert (pod.posts("chat"), pod.posts("calls")) == (200, 401)
    assert not pod.agent.in_sync()

    # What changes in the same shard is not held back with it.
    pod.forwarder.signal(signal.SIGCONT)
    pod.settle()
    assert pod.posts("calls") == 200


def test_a_revocation_does_not_wait_for_a_forwarder_that_hangs(pod: Pod) -> None:
    """What makes a receiver refuse must not wait for what makes another accept."""
    pod.start()
    pod.forwarder.signal(signal.SIGSTOP)

    pod.publisher.put(CALLS)
    pod.publisher.put(a_tenant("chat", Credential(password="another0password", version="2")))

    until_sync(lambda: pod.posts("chat") == 401, 5)
    pod.forwarder.signal(signal.SIGCONT)


def test_a_forwarder_that_is_gone_holds_nobody_back(pod: Pod) -> None:
    """It reads the newest file when it starts; a new tenant is accepted meanwhile."""
    pod.start()
    pod.forwarder.kill()

    pod.publisher.put(CALLS)

    until_sync(lambda: pod.posts("calls") == 200, 10)


def test_the_forwarder_keeps_what_a_worker_that_hangs_may_still_take(
    tmp_path: Path, plane: ControlPlane, kinds: None, namespace: str, processes: Processes
) -> None:
    """A worker that was paused goes on with the routes of before."""
    with a_pod(tmp_path, plane, namespace, processes, workers=2) as pod:
        pod.publisher.entries = {each.subscription.ref.uid: each for each in (CHAT, CALLS)}
        pod.publisher.publish_all()
        pod.start()
        assert pod.receiver.process is not None
        held = descendants(pod.receiver.process.pid)[0]

        held.kill(signal.SIGSTOP)
        pod.publisher.remove(CALLS)
        until_sync(lambda: CALLS.subscription.ref.uid not in pod.endpoints(), 10)
        until_sync(lambda: pod.agent.metric("unserved_seconds") > 1.5, 20)
        assert CALLS.subscription.ref.uid in pod.subscriptions()
        assert not pod.agent.in_sync()

        held.kill(signal.SIGCONT)
        pod.settle()
        until_sync(lambda: CALLS.subscription.ref.uid not in pod.subscriptions(), 5)


def test_a_shard_with_a_chunk_missing_or_a_wrong_hash_leaves_the_one_of_before(pod: Pod) -> None:
    """What arrives in pieces, or broken, must not refuse anybody; and somebody is told."""
    pod.start()
    index = shard_of(CHAT.subscription.ref.uid, pod.publisher.shards)
    [chunk] = split("default", index, 64, 2, pod.publisher.content(index))

    pod.publisher.write("RouteTable", chunk, chunks=2)
    until_sync(lambda: "1 of 2 chunks of revision 2" in pod.agent.trouble(), 10)
    assert pod.posts() == 200
    assert pod.agent.metric("bad_tables") == 1

    pod.publisher.write("RouteTable", replace(chunk, revision=3, hash="0" * 64))
    until_sync(lambda: "not what its hash" in pod.agent.trouble(), 10)
    assert pod.posts() == 200
    assert not pod.agent.in_sync()

    pod.publisher.revisions[index] = 3
    pod.publisher.remove(CHAT)
    pod.settle()
    assert pod.posts() == 401
    assert pod.agent.metric("bad_tables") == 0


def test_a_shard_comes_in_chunks_and_a_deleted_table_changes_nothing(pod: Pod) -> None:
    """A shard may outgrow an object; and no slip of a hand at the tables may cut tenants off."""
    pod.start()
    uid = CHAT.subscription.ref.uid
    index = shard_of(uid, pod.publisher.shards)
    ballast = b"".join(n.to_bytes(4, "big") for n in range(2, 400_000, 3))
    noisy = a_tenant("chat")
    noisy.subscription.routes[0].handler.tls.ca_pem = bytes(b ^ (n * 131 & 255) for n, b in enumerate(ballast))
    noisy.subscription.routes[0].handler.tls.ca_pem += __import__("random").Random(7).randbytes(CHUNK_BYTES + 1000)

    pod.publisher.put(noisy)
    assert len(split("default", index, 64, 2, pod.publisher.content(index))) >= 2
    pod.settle()
    assert pod.posts() == 200

    pod.publisher.delete(index, 1)
    pod.publisher.delete(index)
    until_sync(lambda: "is missing" in pod.agent.trouble(), 10)
    assert pod.posts() == 200
    pod.publisher.put(CHAT)
    pod.settle()


def test_a_new_pod_is_not_ready_before_it_serves_what_is_published(
    tmp_path: Path, plane: ControlPlane, kinds: None, namespace: str, processes: Processes
) -> None:
    """Else it would refuse events of tenants that it has not heard of."""
    with a_pod(tmp_path, plane, namespace, processes, START_GRACE="0.5") as pod:
        pod.agent.start()
        pod.forwarder.start()
        pod.receiver.start(ready=False)
        until_sync(lambda: "not all tables" in pod.agent.trouble(), 10)
        assert not pod.agent.ready()
        assert pod.agent.page("/livez")[0] == 200

        pod.publisher.publish_all()
        pod.settle()
        assert pod.agent.ready()


def test_a_pod_serves_on_without_the_api_server_through_restarts(
    tmp_path: Path, new_plane: NewPlane, processes: Processes
) -> None:
    """The last good snapshot stays in force for as long as it takes; what happened meanwhile is caught up with."""
    plane = new_plane(PlaneOptions(audit=False))
    install_kinds(plane)
    with a_pod(tmp_path, plane, "default", processes, START_GRACE="1") as pod:
        pod.publisher.entries = {each.subscription.ref.uid: each for each in (CHAT, CALLS)}
        pod.publisher.publish_all()
        pod.start()

        plane.kill_apiserver()
        until_sync(lambda: not pod.agent.in_sync(), 10)
        assert pod.agent.process is not None
        pod.agent.process.kill()
        pod.receiver.kill()
        pod.agent.start()
        pod.receiver.start()
        until_sync(pod.agent.ready, 15)
        assert (pod.posts("chat"), pod.posts("calls")) == (200, 200)
        assert not pod.agent.in_sync()

        # A gap: the watch of before is told 410, and deletions lie within it.
        plane.start_apiserver()
        pod.settle()
        plane.kill_apiserver()
        plane.start_apiserver()
        pod.publisher.remove(CALLS)
        plane.forget_history()
        pod.settle()
        assert (pod.posts("chat"), pod.posts("calls")) == (200, 401)


def test_a_watch_that_falls_silent_is_begun_anew(tmp_path: Path, new_plane: NewPlane, processes: Processes) -> None:
    """Nothing says that a connection is dead; and a watch that is open again is one, though nothing changes for a minute."""
    plane = new_plane(PlaneOptions(audit=False))
    install_kinds(plane)
    with a_pod(tmp_path, plane, "default", processes, WATCH_SILENCE="3") as pod:
        pod.publisher.put(CHAT)
        pod.publisher.publish_all()
        pod.start()

        plane.apiserver.pause()
        until_sync(lambda: not pod.agent.in_sync(), 15, "the silence is noticed")
        assert pod.posts() == 200
        plane.apiserver.resume()

        until_sync(pod.agent.in_sync, 15, "in sync without any change")
        pod.publisher.remove(CHAT)
        until_sync(lambda: pod.posts() == 401, 10)


def test_a_right_password_opens_all_through_a_change_of_the_tag_key(pod: Pod) -> None:
    """The new key is mounted long before the operator has made the tables anew with it, one after another."""
    pod.publisher.entries[CALLS.subscription.ref.uid] = CALLS
    pod.publisher.publish_all()
    pod.start()
    assert pod.posts("chat") == 200

    (pod.keys / "tagKey").write_bytes(NEW_KEY)
    pod.publisher.put(a_tenant("new"))  # in a table of the old key
    pod.settle()
    assert (pod.posts("calls"), pod.posts("new")) == (200, 200)

    # The agent starts anew in the middle of it, and every password is shown for the first time.
    pod.publisher.tag_key = NEW_KEY
    pod.publisher.put(retagged("chat", "2"))
    pod.settle()
    assert pod.agent.process is not None
    pod.agent.process.kill()
    pod.agent.start()
    pod.settle()
    shown = {"auth": basic(password="chat0password2")}
    assert (pod.posts("chat", **shown), pod.posts("calls", auth=basic(username=""))) == (200, 401)
    pod.receiver.kill()  # and forgets whom it knows
    pod.receiver.start()
    assert (pod.posts("chat", **shown), pod.posts("calls"), pod.posts("new")) == (200, 200, 200)
    assert pod.posts("chat", auth=basic(password="wrong")) == 401


def test_a_right_password_opens_before_the_tag_key_of_its_table_is_mounted(pod: Pod) -> None:
    """The operator may be faster than the kubelet; and a wrong one stays wrong."""
    pod.start()
    pod.publisher.tag_key = NEW_KEY
    pod.publisher.put(retagged("chat", "2"))
    pod.settle()
    assert pod.posts("chat", auth=basic(password="chat0password2")) == 200
    assert pod.posts("chat", auth=basic(password="wrong")) == 401
    assert pod.agent.metric("tags_incomplete") == 1

    (pod.keys / "tagKey").write_bytes(NEW_KEY)
    pod.publisher.publish_all()
    pod.settle()
    assert pod.agent.metric("tags_incomplete") == 0
    assert pod.posts("chat", auth=basic(password="chat0password2")) == 200


def retagged(name: str, version: str) -> RouteEntry:
    """A tenant with a password of that version, as made with the new tag key."""
    made = a_tenant(name, Credential(password=f"{name}0password{version}", version=version))
    [verifier] = made.endpoint.verifiers
    shown = credential_bytes(USERNAME, f"{name}0password{version}")
    verifier.tag = hmac.digest(NEW_KEY, verifier.salt + shown, "sha256")[:TAG_BYTES]
    return made


def test_an_agent_killed_at_any_moment_leaves_files_that_can_be_read(pod: Pod) -> None:
    """Kill -9 in the middle of writing: the receiver serves what it served, and the next agent goes on."""
    pod.start()
    for round_ in range(8):
        [index] = pod.publisher.put(
            a_tenant("chat", Credential(password=f"secret0of0round{round_}", version=str(round_)))
        )
        revision = pod.publisher.revisions[index]
        until_sync(lambda: pod.agent.process is not None and pod.agent.process.alive())
        for _ in range(round_ * 2):  # a little later each time
            pod.agent.page("/livez")
        assert pod.agent.process is not None
        pod.agent.process.kill()
        assert {worker["routes_trouble"] for worker in pod.receiver.status()} == {""}
        pod.agent.start()
        assert revision == round_ + 2
    pod.settle()
    until_sync(lambda: pod.posts() == 401, 5)
