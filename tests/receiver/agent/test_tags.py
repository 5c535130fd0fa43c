"""Which keys of tags the receiver is given while the key is being changed."""

from itertools import permutations

from hookline_receiver.agent.tags import tag_keys
from hookline_receiver.tag_keys import TagKeys
from hookline_routes.verifier import tag_key_id

ONE, TWO, THREE = (bytes([n]) * 32 for n in range(3))
ID_1, ID_2, ID_3 = map(tag_key_id, (ONE, TWO, THREE))
LEFT = None
"""A shard that is known from the file only."""


def test_a_key_that_is_mounted_early_waits_for_the_tables() -> None:
    """The kubelet is done before the operator: nothing may change for the shards that are there."""
    assert tag_keys([ID_1, ID_1], TWO, TagKeys(ONE)) == TagKeys(ONE)


def test_both_keys_hold_while_shards_are_published_one_by_one() -> None:
    """Some are made with the new key, some with the old one; in whatever order they come the file is the same."""
    for shards in permutations([ID_1, ID_1, ID_2]):
        assert tag_keys(shards, TWO, TagKeys(ONE)) == TagKeys(TWO, (ONE,))
    assert tag_keys([ID_2, ID_2], TWO, TagKeys(TWO, (ONE,))) == TagKeys(TWO)


def test_tables_that_are_made_with_a_key_to_come_are_served_without_it() -> None:
    """The operator is done before the kubelet."""
    assert tag_keys([ID_1, ID_2], ONE, TagKeys(ONE)) == TagKeys(ONE, incomplete=True)
    assert tag_keys([ID_2, ID_2], ONE, TagKeys(ONE)) == TagKeys(ONE, incomplete=True)
    assert tag_keys([ID_2, ID_2], TWO, TagKeys(ONE, incomplete=True)) == TagKeys(TWO)


def test_a_new_pod_beside_tables_of_the_old_key_serves_them() -> None:
    """It has no file, so it never saw that key."""
    assert tag_keys([ID_1], TWO, None) == TagKeys(TWO, incomplete=True)


def test_a_restart_in_the_middle_changes_nothing() -> None:
    """What was not listed yet may be made with any key in the file."""
    for before in (TagKeys(ONE), TagKeys(TWO, (ONE,)), TagKeys(ONE, incomplete=True)):
        assert tag_keys([LEFT, LEFT], TWO, before) == before
    assert tag_keys([LEFT, ID_2], TWO, TagKeys(ONE)) == TagKeys(TWO, (ONE,))
    assert tag_keys([ID_3, ID_2], THREE, TagKeys(TWO, (ONE,))) == TagKeys(THREE, (TWO,))


def test_tables_that_do_not_name_their_key_count_as_made_with_the_mounted_one() -> None:
    """Nothing else can be known of them."""
    assert tag_keys([b"", b""], TWO, TagKeys(ONE)) == TagKeys(TWO)
