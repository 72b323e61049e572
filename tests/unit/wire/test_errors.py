"""Error codes are Kafka's: what a client sees and decides by."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
from pathlib import Path

import pytest

from odradek.wire.errors import ErrorCode, KafkaError

ROOT = Path(__file__).parents[3]
TABLE = Path(__file__).with_name("error_codes_4_4_0.tsv")


def _rows() -> list[str]:
    return [f"{int(code)}\t{code.name}\t{int(code.retriable)}" for code in ErrorCode]


def test_codes_names_and_retriability_are_those_of_kafka() -> None:
    assert sorted(_rows()) == sorted(TABLE.read_text().splitlines())


def test_the_committed_table_is_what_kafkas_jar_says() -> None:
    libs = Path(os.environ.get("ODRADEK_KAFKA_LIBS") or ROOT / ".cache/kafka/4.4.0/libs")
    if not list(libs.glob("kafka-clients-4.4.0.jar")):
        pytest.skip(f"no kafka-clients-4.4.0.jar in {libs} (set ODRADEK_KAFKA_LIBS)")
    if shutil.which("java") is None:
        pytest.skip("no java on the PATH")
    command = ["java", "-cp", f"{libs}/*", str(ROOT / "tools/oracle/RecordsOracle.java"), "errors"]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    assert run.stdout.splitlines() == TABLE.read_text().splitlines()


def test_every_code_has_a_text_of_its_own() -> None:
    assert len({code.message for code in ErrorCode}) == len(ErrorCode)
    assert all(code.message.endswith(".") for code in ErrorCode)


def test_a_code_is_found_by_number_and_behaves_as_one() -> None:
    assert ErrorCode(3) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert int(ErrorCode.UNKNOWN_SERVER_ERROR) == -1
    with pytest.raises(ValueError, match="999"):
        ErrorCode(999)


def test_an_error_says_its_code_and_what_happened() -> None:
    error = KafkaError(ErrorCode.INVALID_RECORD, "no key")
    assert (error.code, error.message, str(error)) == (87, "no key", "INVALID_RECORD: no key")
    assert str(KafkaError(ErrorCode.INVALID_RECORD)).startswith("INVALID_RECORD: A record did not pass")


def test_an_error_crosses_process_borders() -> None:
    copy = pickle.loads(pickle.dumps(KafkaError(ErrorCode.MESSAGE_TOO_LARGE, "big")))
    assert (copy.code, copy.message) == (ErrorCode.MESSAGE_TOO_LARGE, "big")
