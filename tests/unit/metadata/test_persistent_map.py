from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from odradek.metadata.persistent_map import PersistentMap

steps = st.lists(
    st.tuples(st.dictionaries(st.integers(0, 60), st.integers(), max_size=8), st.lists(st.integers(0, 60), max_size=8)),
    max_size=30,
)


@given(start=st.dictionaries(st.integers(0, 60), st.integers()), changes=steps)
def test_every_version_is_the_dict_that_it_stands_for_and_stays_so(
    start: dict[int, int], changes: list[tuple[dict[int, int], list[int]]]
) -> None:
    versions = [(PersistentMap(start), dict(start))]
    for put, removed in changes:
        version, model = versions[-1]
        model = {key: value for key, value in model.items() if key not in removed} | put
        versions.append((version.changed(put, removed), model))
    for version, model in versions:
        assert len(version) == len(model)
        for key in range(61):
            assert (key in version) == (key in model)
            assert version.get(key, "none") == model.get(key, "none")
        assert version == model
        assert dict(version.items()) == model
        assert sorted(version) == sorted(model)
    for version, model in versions:
        assert version == model


def test_a_missing_key_is_an_error_and_a_removed_one_too() -> None:
    version = PersistentMap({1: "a", 2: "b"}).changed({}, [1])
    with pytest.raises(KeyError):
        version[1]
    with pytest.raises(KeyError):
        version[3]
    assert version[2] == "b"


def test_single_changes_to_a_large_map_do_not_copy_it_each_time() -> None:
    count = 10_000
    version: PersistentMap[int, int] = PersistentMap(dict.fromkeys(range(count), 0))
    copies = 0
    base = version._base
    for key in range(1000):
        version = version.changed({key: 1})
        copies += version._base is not base
        base = version._base
    assert copies <= 12
    assert sum(version.values()) == 1000
