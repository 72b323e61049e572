"""What is looked for in the histories of groups under faults is found where it is."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.histories.checks import offsets_gone_back, skipped


def poll(process: str, *, found: dict[str, int], committed: dict[str, int]) -> list[dict[str, object]]:
    return [
        {"process": process, "type": "invoke", "f": "poll"},
        {"process": process, "type": "ok", "f": "poll", "group": "g", "found": found, "committed": committed},
    ]


def test_a_commit_that_was_acknowledged_and_is_gone_is_told() -> None:
    lost = poll("a", found={}, committed={"t-0": 7}) + poll("b", found={"t-0": 5}, committed={})
    assert offsets_gone_back(lost) == ["line 4: g has 5 for t-0, where 7 was committed before"]
    kept = poll("a", found={}, committed={"t-0": 7}) + poll("b", found={"t-0": 7, "t-1": 0}, committed={})
    assert offsets_gone_back(kept) == []


def test_what_is_committed_while_somebody_asks_may_not_be_in_the_answer() -> None:
    begun, answered = poll("b", found={"t-0": 5}, committed={})
    assert offsets_gone_back([begun, *poll("a", found={}, committed={"t-0": 7}), answered]) == []


def test_a_record_that_a_group_has_left_out_is_told(tmp_path: Path) -> None:
    path = tmp_path / "history"
    events = [
        {"process": "m", "type": "ok", "f": "poll", "group": "g", "value": [["poll", {"t-0": [[0, "a"], [2, "c"]]}]]},
        {"process": "p", "type": "ok", "f": "poll", "value": [["poll", {"t-0": [[0, "a"], [1, "b"], [2, "c"]]}]]},
    ]
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    assert skipped(path, "g", {"t-0": 3}) == [("t-0", 1)]
    assert skipped(path, "g", {"t-0": 1}) == []
