"""Whether an object differs from its wish, what is done about it, and when it is left alone."""

import copy
import random
from typing import Any

import pytest

from hookline_operator.decide.planes.contest import FIRST_SECONDS, LONGEST_SECONDS, Correction
from hookline_operator.decide.planes.difference import difference, differences
from hookline_operator.decide.planes.manifests import manifests
from hookline_operator.decide.planes.pod import PodSettings
from hookline_operator.decide.planes.steps import Action, step
from hookline_routes.resource import ScalingSpec
from support.planes import a_plane

ROUNDS = 300


def something(chance: random.Random, depth: int = 3) -> Any:
    """A value as objects have them."""
    kind = chance.choice("smlnb" if depth else "sib")
    match kind:
        case "m":
            return {chance.choice("abcdefgh"): something(chance, depth - 1) for _ in range(chance.randint(0, 4))}
        case "l":
            return [something(chance, depth - 1) for _ in range(chance.randint(0, 3))]
        case "n":
            names = chance.sample("pqrstu", chance.randint(0, 4))
            return [{"name": name, "value": something(chance, depth - 1)} for name in names]
        case "i":
            return chance.randint(0, 5)
        case "b":
            return chance.random() < 0.5
        case _:
            return chance.choice(["", "one", "two", "1000m", "1", "2Gi", "2048Mi"])


def grown(value: Any, chance: random.Random) -> Any:
    """*value* with what an API server and others add to it."""
    if isinstance(value, dict):
        more = {f"other{number}": something(chance, 1) for number in range(chance.randint(0, 2))}
        return {key: grown(each, chance) for key, each in value.items()} | more
    if isinstance(value, list):
        found = [grown(each, chance) for each in value]
        if value and all(isinstance(each, dict) and "name" in each for each in value):
            found.append({"name": "other", "value": something(chance, 1)})
            chance.shuffle(found)
        return found
    return value


@pytest.mark.parametrize("seed", range(4))
def test_what_others_add_is_no_difference(seed: int) -> None:
    """Defaults, and what other owners have set, are not ours to look at."""
    chance = random.Random(seed)
    for _ in range(ROUNDS):
        wanted = something(chance)
        assert difference(wanted, copy.deepcopy(wanted)) == "", f"seed {seed}: {wanted}"
        there = grown(wanted, chance)
        assert difference(wanted, there) == "", f"seed {seed}: {wanted} in {there}"


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something is said."""
    if isinstance(value, dict):
        return [leaf for key, each in value.items() for leaf in leaves(each, (*path, key))]
    if isinstance(value, list):
        return [leaf for index, each in enumerate(value) for leaf in leaves(each, (*path, index))]
    return [path]


@pytest.mark.parametrize("seed", range(4))
def test_each_change_of_what_is_ours_is_a_difference(seed: int) -> None:
    """Whatever is changed or taken away of a plane's objects is found, and the path leads to it."""
    chance = random.Random(seed)
    objects = manifests(a_plane(scaling=ScalingSpec(2, 5, 60), client_certificate="c"), PodSettings(image="a"))
    for _ in range(ROUNDS):
        wanted = chance.choice(objects)
        there: Any = copy.deepcopy(wanted)
        path = chance.choice([leaf for leaf in leaves(there) if leaf[-1] not in ("name", "mountPath", "topologyKey")])
        inner: Any = there
        for each in path[:-1]:
            inner = inner[each]
        if not inner[path[-1]]:
            continue
        if chance.random() < 0.5 and isinstance(path[-1], str):
            del inner[path[-1]]
        else:
            inner[path[-1]] = "something else"

        found = list(differences(wanted, there))

        assert len(found) == 1, f"seed {seed}: {path}"
        assert found[0].startswith(str(path[0]))


def test_mounts_of_one_volume_are_told_apart_by_their_place() -> None:
    """A container mounts parts of one volume several times, all by its name."""
    mounts = [{"name": "data", "mountPath": f"/data/{name}", "subPath": name} for name in ("journal", "store")]
    other = [dict(mounts[1]), {**mounts[0], "subPath": "elsewhere"}]

    assert difference(mounts, list(reversed(mounts))) == ""
    assert difference(mounts, other) == "[/data/journal].subPath"
    assert difference(mounts, mounts[:1]) == "[/data/store]"


@pytest.mark.parametrize(
    ("wanted", "there", "same"),
    [
        ("1000m", "1", True),
        ("1", 1, True),
        ("2Gi", "2048Mi", True),
        ("1500m", "1", False),
        ("1Gi", "1G", False),
        (True, 1, True),
        (False, None, True),
        ({}, None, True),
        ([], None, True),
        ({"a": 1}, None, False),
        ([1], [1, 2], False),
        ("²m", "1", False),
    ],
)
def test_amounts_are_equal_if_they_mean_the_same(wanted: Any, there: Any, same: bool) -> None:
    """The API server writes quantities in its own way, and leaves out what is empty."""
    assert (difference(wanted, there) == "") == same


# --- steps


def stored(wish: Any, *, manager: str = "hookline-operator", fields: Any = None, **metadata: Any) -> Any:
    """As an API server would have it."""
    there = copy.deepcopy(wish)
    entry = {"manager": manager, "operation": "Apply", "fieldsV1": fields or {}}
    there["metadata"] |= {"managedFields": [entry], "uid": "u", **metadata}
    return there


def stateful_set(**plane: Any) -> Any:
    """The wish of a plane."""
    every = manifests(a_plane(**plane), PodSettings(image="a"))
    return next(each for each in every if each["kind"] == "StatefulSet")


def test_what_is_right_is_left_alone() -> None:
    """The only state that costs no write."""
    wanted = stateful_set(replicas=3)
    there = stored(step(wanted, None, 3).wish)

    assert step(wanted, there, 3).action is Action.NOTHING
    assert step(wanted, {**there, "metadata": {**there["metadata"], "managedFields": []}}, 3).differs == (
        "metadata.managedFields",
    )


def test_what_is_taken_out_of_the_wish_is_a_difference_too() -> None:
    """It can't be seen by comparing; the digest of the wish tells."""
    before = manifests(a_plane(), PodSettings(image="a", priority_class="high"))[3]
    there = stored(step(before, None, 2).wish)

    found = step(stateful_set(), there, 2)

    assert found.action is Action.APPLY
    assert found.differs == ("metadata.annotations.hookline.dev/wish",)


def test_the_first_number_of_pods_is_no_wish() -> None:
    """It is given up at once: who scales has the field to themselves."""
    first = step(stateful_set(), None, 2)
    there = stored(first.wish, fields={"f:spec": {"f:replicas": {}}})

    then = step(stateful_set(), there, 2)

    assert first.wish["spec"]["replicas"] == 2  # type: ignore[index]
    assert (then.action, then.replicas) == (Action.HAND_OVER, 2)
    assert "replicas" not in then.wish["spec"]  # type: ignore[operator]
    assert then.digest == first.digest


@pytest.mark.parametrize(
    ("metadata", "word"),
    [
        ({"ownerReferences": []}, "is there already"),
        ({"ownerReferences": [{"kind": "Shop", "name": "s", "uid": "x", "controller": True}]}, "belongs to the Shop s"),
        ({"deletionTimestamp": "2026-01-01T00:00:00Z"}, "is being deleted"),
    ],
)
def test_what_is_not_ours_is_refused(metadata: Any, word: str) -> None:
    """Nothing of somebody else's is written, nor what goes away already."""
    wanted = stateful_set()

    found = step(wanted, stored(wanted, **metadata), 2)

    assert found.action is Action.REFUSE
    assert word in found.remark


def test_claims_stay_as_they_were_made_and_the_rest_goes_on() -> None:
    """The API server refuses any write that changes them, and with it everything else in that write."""
    there = stored(step(stateful_set(replicas=2), None, 2).wish)

    found = step(stateful_set(replicas=3, storage_bytes=20 << 30), there, 3)

    assert found.wish["spec"]["volumeClaimTemplates"] == there["spec"]["volumeClaimTemplates"]  # type: ignore[index]
    assert found.wish["spec"]["replicas"] == 3  # type: ignore[index]
    assert "resources.requests.storage" in found.remark


# --- contests


def test_an_opponent_costs_fewer_writes_the_longer_it_goes_on() -> None:
    """In a week of a look every minute: the first correction, then one after 10 minutes, 20, 40 … up to a day."""
    now, writes = 0.0, 0
    known: Correction | None = None
    while now < 7 * 86_400:
        if known is None or not known.covers("wish", ["spec.a"], now):
            known = (
                known.followed_by("wish", ["spec.a"], now) if known else Correction("wish", frozenset(["spec.a"]), now)
            )
            writes += 1
        now += 60

    assert writes == 14
    assert known is not None
    assert known.times == 14


def test_another_wish_or_another_field_is_no_contest() -> None:
    """What a person asks for must not wait because somebody else meddles."""
    known = Correction("wish", frozenset(["spec.a"]), 0.0)

    assert known.covers("wish", ["spec.a"], FIRST_SECONDS - 1)
    assert not known.covers("wish", ["spec.a"], FIRST_SECONDS + 1)
    assert not known.covers("wish", ["spec.a", "spec.b"], 1.0)
    assert not known.covers("other", ["spec.a"], 1.0)
    assert known.followed_by("wish", ["spec.b"], 1.0).covers("wish", ["spec.a"], 2.0)
    assert known.followed_by("wish", ["spec.a"], 3 * LONGEST_SECONDS).times == 1
