"""The calls of the API server: what is tried again, what is not, and that nobody writes who does not lead."""

from typing import Any

import pytest

from hookline_operator.apply.api import Api, Conflict, Expired, Limits, NotFound, NotLeading, Refused, Unavailable
from hookline_operator.resource_types import CONFIG_MAPS, REFERENCE_GRANTS, ResourceType
from support.kubernetes.call import matching, writing
from support.kubernetes.faults import Answer, LoseAnswer, Reset, Stall
from support.kubernetes.plane import ControlPlane
from support.kubernetes.proxy import FaultProxy

QUICK = Limits(seconds=2, attempts=3, longest_pause=0.2)


def a_config_map(name: str = "it", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def test_objects_are_made_read_changed_and_deleted(plane: ControlPlane, namespace: str) -> None:
    """Each way of writing has a condition of its own."""
    async with plane.aio() as client:
        api = Api(client)
        assert await api.get(CONFIG_MAPS, namespace, "it") is None
        made = await api.create(CONFIG_MAPS, namespace, a_config_map(a="1"))
        with pytest.raises(Conflict) as taken:
            await api.create(CONFIG_MAPS, namespace, a_config_map())
        assert taken.value.reason == "AlreadyExists"

        await api.merge(CONFIG_MAPS, namespace, "it", {"data": {"b": "2", "a": None}})
        with pytest.raises(Conflict):
            await api.replace(CONFIG_MAPS, namespace, "it", made)
        applied = await api.apply(CONFIG_MAPS, namespace, "it", a_config_map(c="3"))
        assert applied["data"] == {"b": "2", "c": "3"}

        with pytest.raises(Conflict):
            await api.delete(CONFIG_MAPS, namespace, "it", uid="another")
        assert await api.delete(CONFIG_MAPS, namespace, "it", uid=applied["metadata"]["uid"])
        assert not await api.delete(CONFIG_MAPS, namespace, "it")


async def test_a_list_has_all_pages_and_a_position(plane: ControlPlane, namespace: str) -> None:
    """Of names and versions alone, where no more is asked for."""
    plane.api().apply(
        *(
            {**a_config_map(f"c{number}", a="x"), "metadata": {"name": f"c{number}", "namespace": namespace}}
            for number in range(505)
        )
    )
    async with plane.aio() as client:
        whole = await Api(client).list(CONFIG_MAPS, namespace)
        names = await Api(client).list(CONFIG_MAPS, namespace, metadata_only=True)

    assert len(whole.items) == len(names.items) >= 505
    assert whole.resource_version > 0
    assert all("data" not in item for item in names.items)


async def test_an_unknown_kind_is_not_found(plane: ControlPlane) -> None:
    """Optional kinds are told by it."""
    unknown = ResourceType("nobody.example/v1", "Nothing", "nothings")
    async with plane.aio() as client:
        with pytest.raises(NotFound):
            await Api(client).list(unknown)
        assert (
            REFERENCE_GRANTS.path("a", "b") == "/apis/gateway.networking.k8s.io/v1beta1/namespaces/a/referencegrants/b"
        )


@pytest.mark.parametrize("fault", [Answer(503), Reset(), Answer(429, retry_after=1)], ids=["503", "reset", "429"])
async def test_a_read_is_tried_again(plane: ControlPlane, fault_proxy: FaultProxy, namespace: str, fault: Any) -> None:
    """Reading twice costs nothing but time."""
    async with plane.aio(server=fault_proxy.url) as client:
        with fault_proxy.inject(fault, matching(resource="configmaps"), times=2) as rule:
            assert await Api(client, limits=QUICK).get(CONFIG_MAPS, namespace, "none") is None

        assert rule.hits == 2


async def test_a_write_that_may_have_been_done_is_not_tried_again(
    plane: ControlPlane, fault_proxy: FaultProxy, namespace: str
) -> None:
    """Whoever asked must look first; what was refused for being too much was surely not done."""
    async with plane.aio(server=fault_proxy.url) as client:
        api = Api(client, limits=QUICK)
        with fault_proxy.inject(LoseAnswer(), writing) as lost, pytest.raises(Unavailable):
            await api.create(CONFIG_MAPS, namespace, a_config_map())
        assert lost.hits == 1
        assert await api.get(CONFIG_MAPS, namespace, "it") is not None

        with fault_proxy.inject(Answer(429, retry_after=1), writing, times=2) as busy:
            await api.merge(CONFIG_MAPS, namespace, "it", {"data": {"a": "1"}})
        assert busy.hits == 2


@pytest.mark.parametrize(
    ("status", "kind"), [(410, Expired), (403, Refused), (500, Unavailable), (409, Conflict), (404, NotFound)], ids=str
)
async def test_each_refusal_has_its_own_kind(
    plane: ControlPlane, fault_proxy: FaultProxy, status: int, kind: type[Exception]
) -> None:
    """What to do next depends on it."""
    async with plane.aio(server=fault_proxy.url) as client:
        with fault_proxy.inject(Answer(status), matching(resource="configmaps")), pytest.raises(kind):
            await Api(client, limits=Limits(seconds=5, attempts=1)).list(CONFIG_MAPS)


async def test_silence_ends(plane: ControlPlane, fault_proxy: FaultProxy, namespace: str) -> None:
    """An API server that takes a call and says nothing must not hold a lane for ever."""
    async with plane.aio(server=fault_proxy.url) as client:
        api = Api(client, limits=Limits(seconds=0.5, attempts=1))
        with fault_proxy.inject(Stall(), matching(resource="configmaps")), pytest.raises(Unavailable):
            await api.get(CONFIG_MAPS, namespace, "it")


async def test_nobody_writes_who_does_not_lead(plane: ControlPlane, fault_proxy: FaultProxy, namespace: str) -> None:
    """Asked before each write, also before one that is tried again; reading is free to all."""
    left = [5.0, 0.0]
    async with plane.aio(server=fault_proxy.url) as client:
        api = Api(client, may_write=lambda: left.pop(0) if left else 0.0, limits=QUICK)
        with fault_proxy.inject(Answer(429), writing) as rule, pytest.raises(NotLeading):
            await api.create(CONFIG_MAPS, namespace, a_config_map())
        assert rule.hits == 1

        for write in (
            api.merge(CONFIG_MAPS, namespace, "it", {}),
            api.replace(CONFIG_MAPS, namespace, "it", a_config_map()),
            api.apply(CONFIG_MAPS, namespace, "it", a_config_map()),
            api.delete(CONFIG_MAPS, namespace, "it"),
        ):
            with pytest.raises(NotLeading):
                await write
        assert await api.get(CONFIG_MAPS, namespace, "it") is None
        assert api.writes == 1
