"""Fixtures for whole programs: processes, the class paths of those in Java, and what a topic holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.apache import ROOT, Unavailable, kafka_libs, tools_libs
from tests.support.building import java_classpath, python_programs
from tests.support.program import JAVA_OPTIONS, Program

StartJava = Callable[..., Program]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Starts programs that end with the test: ``start(argv, name="worker")``."""
    with ExitStack() as stack:

        def spawn(argv: Sequence[str], *, name: str, env: Mapping[str, str] | None = None) -> Program:
            program = Program(argv, tmp_path, name=name, env=env)
            stack.callback(program.close)
            program.start()
            return program

        yield spawn


@pytest.fixture
def start_java(start: Callable[..., Program]) -> StartJava:
    """Starts a class of tests/java-programs or its dependencies: ``start_java("Main", "argument", name="x")``.

    Those of another project in tests: ``project="flink-program"``.
    """

    def spawn(
        main: str, *arguments: str, name: str, options: Sequence[str] = (), project: str = "java-programs"
    ) -> Program:
        try:
            classpath = java_classpath(ROOT / "tests" / project)
        except Unavailable as missing:
            pytest.skip(f"no Java programs here: {missing}")
        return start(["java", *JAVA_OPTIONS, *options, "-cp", classpath, main, *arguments], name=name)

    return spawn


@pytest.fixture
def start_python(start: Callable[..., Program]) -> StartJava:
    """Starts a program of tests/python-programs: ``start_python("program.py", "argument", name="x")``."""
    project = ROOT / "tests" / "python-programs"
    try:
        python = python_programs(project)
    except Unavailable as missing:
        pytest.skip(f"no programs in Python here: {missing}")

    def spawn(program: str, *arguments: str, name: str) -> Program:
        return start([python, str(project / program), *arguments], name=name)

    return spawn


@pytest.fixture
def start_tool(start: Callable[..., Program]) -> StartJava:
    """Starts one of Kafka's tools, on the newest client: ``start_tool("VerifiableProducer", "--help", name="x")``."""
    try:
        client = next(kafka_libs().glob("kafka-clients-*.jar"))
        classpath = f"{client}:{tools_libs()}/*"
    except Unavailable as missing:
        pytest.skip(f"no tools of Kafka here: {missing}")

    def spawn(tool: str, *arguments: str, name: str) -> Program:
        return start(["java", *JAVA_OPTIONS, "-cp", classpath, f"org.apache.kafka.tools.{tool}", *arguments], name=name)

    return spawn
