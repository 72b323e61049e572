"""Nodes on real sockets and files: what they refuse, and that a directory has one of them."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from odradek.config import BrokerConfig, ConfigError, single_node_defaults
from odradek.net.client import Client, ClientError, Connection, parse_address
from odradek.node import StartError, serve
from odradek.node.start_error import unusable_directory
from odradek.node.support import check_supported, properties_without_effect
from odradek.wire.messages.create_topics import CreatableTopic, CreateTopicsRequest, CreateTopicsResponse
from odradek.wire.messages.describe_cluster import DescribeClusterRequest, DescribeClusterResponse
from odradek.wire.messages.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse
from odradek.wire.messages.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)
from odradek.wire.messages.metadata import MetadataRequest, MetadataResponse

BROKER = 4
TIMEOUT_S = 20
TLS = {
    "listeners": "SSL://localhost:0,CONTROLLER://127.0.0.1:0",
    "listener.security.protocol.map": "SSL:SSL,CONTROLLER:PLAINTEXT",
    "security.inter.broker.protocol": "SSL",
}
SASL = {
    "listeners": "PLAINTEXT://localhost:0,OUT://:0,CONTROLLER://127.0.0.1:0",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,OUT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
    "advertised.listeners": "PLAINTEXT://localhost:1,OUT://localhost:2",
}


REMOTE_TLS = {
    "process.roles": "broker",
    "listeners": "PLAINTEXT://localhost:0",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:SSL",
}


def config_of(data_dir: str, **settings: str) -> BrokerConfig:
    properties = single_node_defaults("localhost", 0, data_dir=data_dir)
    properties.update({name.replace("_", "."): value for name, value in settings.items()})
    return BrokerConfig.load(properties)


def load(settings: dict[str, str]) -> BrokerConfig:
    return BrokerConfig.load({**single_node_defaults("localhost", 0, data_dir="/data"), **settings})


async def while_serving(
    config: BrokerConfig, work: Callable[[str], Coroutine[None, None, None]], *, in_memory: bool = False
) -> int:
    """Run a node, `work` with its address once it is ready, and stop it."""
    stop = asyncio.Event()
    told: asyncio.Queue[str] = asyncio.Queue()
    node = asyncio.ensure_future(serve(config, in_memory=in_memory, on_ready=told.put_nowait, stop=stop))
    node.add_done_callback(lambda _node: told.put_nowait(""))
    address = await asyncio.wait_for(told.get(), TIMEOUT_S)
    try:
        if address:
            await work(address)
    finally:
        stop.set()
        code = await asyncio.wait_for(node, TIMEOUT_S)
    return code


async def nothing(_address: str) -> None:
    pass


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (TLS, "SSL has the protocol SSL"),
        (SASL, "OUT has the protocol SASL_PLAINTEXT"),
        (REMOTE_TLS, "the controllers' CONTROLLER has the protocol SSL"),
        ({"authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer"}, "authorizer.class.name"),
    ],
)
def test_what_could_only_be_pretended_is_refused(settings: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_supported(load(settings))
    assert problem in refused.value.message
    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    "settings", [{}, {"controller.quorum.voters": "1@127.0.0.1:1", "controller.quorum.bootstrap.servers": ""}]
)
def test_a_cluster_of_one_is_served(settings: dict[str, str]) -> None:
    check_supported(load(settings))


def test_a_refusal_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "odradek", "serve", "--listen", "localhost:0", "--data-dir", str(tmp_path / "d")]
    command += ["--set", "authorizer.class.name=a.B", "--log-level", "error"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert not (tmp_path / "d").exists()


def test_properties_without_effect_are_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = config_of(str(tmp_path / "d"), num_io_threads="3", log_retention_ms="1000")
    asyncio.run(while_serving(config, nothing))
    (line,) = [record.getMessage() for record in caplog.records if "no effect" in record.getMessage()]
    assert "num.io.threads" in line
    assert "log.retention.ms" not in line


def test_what_a_single_node_is_anyway_is_not_complained_about() -> None:
    assert properties_without_effect(load({})) == []
    assert properties_without_effect(load({"num.io.threads": "3"})) == ["num.io.threads"]


def test_a_directory_has_one_node(tmp_path: Path) -> None:
    data_dir = tmp_path / "d"
    config = config_of(str(data_dir))

    async def start_another(_address: str) -> None:
        for _ in range(2):
            with pytest.raises(StartError, match=f"{data_dir} is in use"):
                await while_serving(config, nothing)
        command = [sys.executable, "-m", "odradek", "serve", "--listen", "localhost:0", "--data-dir", str(data_dir)]
        process = await asyncio.create_subprocess_exec(
            *command, "--log-level", "error", stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        out, err = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
        assert (process.returncode, out, err.count(b"\n")) == (1, b"", 1)
        assert b"is in use" in err

    assert asyncio.run(while_serving(config, start_another)) == 0
    assert (data_dir / ".lock").exists()
    assert asyncio.run(while_serving(config, nothing)) == 0


def test_nodes_in_memory_do_not_mind_each_other() -> None:
    config = config_of("/in-memory")

    async def start_another(_address: str) -> None:
        await while_serving(config, nothing, in_memory=True)

    assert asyncio.run(while_serving(config, start_another, in_memory=True)) == 0
    assert not Path("/in-memory").exists()


def test_a_directory_of_another_quorum_is_refused(tmp_path: Path) -> None:
    data_dir = tmp_path / "d"
    config = config_of(str(data_dir))
    asyncio.run(while_serving(config, nothing))
    meta = data_dir / "meta.properties"
    lines = meta.read_text().splitlines()
    meta.write_text(
        "\n".join("directory.id=AAAAAAAAAAAAAAAAAAAA-A" if line.startswith("directory.id") else line for line in lines)
    )
    with pytest.raises(StartError, match="has the voters 1: "):
        asyncio.run(while_serving(config, nothing))


def test_a_node_whose_last_disk_fails_ends_with_one_line_and_exit_code_1(tmp_path: Path) -> None:
    data_dir = tmp_path / "d"
    command = [sys.executable, "-m", "odradek", "serve", "--listen", "127.0.0.1:0", "--data-dir", str(data_dir)]

    async def lose_the_disk() -> None:
        process = await asyncio.create_subprocess_exec(
            *command, "--log-level", "error", stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        ready = await asyncio.wait_for(process.stdout.readline(), TIMEOUT_S)
        address = ready.decode().strip().removeprefix("odradek ready on ")
        data_dir.rename(tmp_path / "elsewhere")
        data_dir.write_text("a directory no more")
        async with Client([address]) as client:
            topic = CreatableTopic(name="t", num_partitions=1, replication_factor=1)
            with contextlib.suppress(ClientError):
                await client.send(CreateTopicsRequest(topics=[topic], timeout_ms=1000), CreateTopicsResponse)
        out, err = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
        assert (process.returncode, out) == (1, b"")
        (line,) = [line for line in err.splitlines() if not line.startswith(b"{")]
        assert line.startswith(b"odradek: error: the node has stopped")
        assert b"metadata log" in line
        assert str(data_dir).encode() in line

    asyncio.run(lose_the_disk())


def test_a_limit_that_is_set_at_run_time_holds_for_the_next_connection() -> None:
    async def set_it(address: str) -> None:
        host, port = parse_address(address)
        async with Client([address]) as client:
            config = AlterableConfig(name="max.connections.per.ip", config_operation=0, value="2")
            resource = AlterConfigsResource(resource_type=BROKER, resource_name="", configs=[config])
            response = await client.send(
                IncrementalAlterConfigsRequest(resources=[resource]), IncrementalAlterConfigsResponse
            )
            assert response.responses[0].error_code == 0
            second, writer = await asyncio.open_connection(host, port)
            third, refused = await asyncio.open_connection(host, port)
            assert await asyncio.wait_for(third.read(1), TIMEOUT_S) == b""
            refused.close()
            assert not second.at_eof()
            writer.close()

    assert asyncio.run(while_serving(config_of("/in-memory"), set_it, in_memory=True)) == 0


def test_the_node_has_as_many_descriptors_as_the_system_allows() -> None:
    resource = pytest.importorskip("resource")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if not Path("/proc/self/limits").exists() or hard == resource.RLIM_INFINITY:
        pytest.skip("the limit cannot be read here")

    async def read_limits() -> None:
        process = await asyncio.create_subprocess_exec(
            "/bin/sh", "-c", 'ulimit -S -n 200 && exec "$@"', "sh", sys.executable, "-m", "odradek", "serve",
            "--in-memory", "--listen", "127.0.0.1:0", "--log-level", "error", stdout=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), TIMEOUT_S)
        text = Path(f"/proc/{process.pid}/limits").read_text()
        (line,) = [line for line in text.splitlines() if line.startswith("Max open files")]
        process.terminate()
        await asyncio.wait_for(process.communicate(), TIMEOUT_S)
        assert line.split()[3:5] == [str(hard), str(hard)]

    asyncio.run(read_limits())


def test_max_connections_holds_back_the_clients_of_a_node_with_one_listener_for_them(tmp_path: Path) -> None:
    config = config_of(str(tmp_path), max_connections="2")

    async def work(address: str) -> None:
        host, port = address.rsplit(":", 1)
        peers = [await asyncio.open_connection(host, int(port)) for _ in range(4)]
        request = (10).to_bytes(4, "big") + b"\x00\x12\x00\x00\x00\x00\x00\x01\xff\xff"
        for _reader, writer in peers:
            writer.write(request)
        answered = [asyncio.ensure_future(reader.readexactly(4)) for reader, _writer in peers]
        await asyncio.wait_for(asyncio.gather(*answered[:2]), TIMEOUT_S)
        assert [each.done() for each in answered[2:]] == [False, False]
        peers[0][1].close()
        await asyncio.wait_for(asyncio.wait(answered[2:], return_when=asyncio.FIRST_COMPLETED), TIMEOUT_S)
        for each in answered:
            each.cancel()
        for _reader, writer in peers:
            writer.close()

    assert asyncio.run(while_serving(config, work)) == 0


def refusal(*options: str) -> str:
    """What `serve` says on stderr when it does not start, which is one line."""
    command = [sys.executable, "-m", "odradek", "serve", "--log-level", "error", *options]
    result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    return result.stderr


def test_a_port_that_is_in_use_is_named_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = refusal("--listen", f"127.0.0.1:{port}", "--in-memory")
    assert f"127.0.0.1:{port}" in said
    assert "choose another port" in said
    assert "Errno" not in said


def test_a_file_in_the_place_of_the_data_directory_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = refusal("--listen", "127.0.0.1:0", "--data-dir", str(tmp_path / "file"))
    assert str(tmp_path / "file") in said
    assert "use another directory" in said


def test_a_damaged_meta_properties_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "meta.properties").write_text("node.id=1")
    said = refusal("--listen", "127.0.0.1:0", "--data-dir", str(tmp_path))
    assert "meta.properties lacks version" in said
    assert "put the file back as it was" in said


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "make room"),
        (PermissionError(errno.EACCES, "Permission denied", "/data/x"), "let this process's user write"),
        (OSError(errno.EROFS, "Read-only file system"), "use another directory"),
    ],
)
def test_a_directory_that_cannot_be_used_is_named_with_what_to_do(error: OSError, advice: str) -> None:
    said = str(unusable_directory(error, "/data"))
    assert advice in said
    assert (error.filename or "/data") in said
    assert (error.strerror or "?") in said


def test_each_listener_is_told_of_the_node_as_that_listener_advertises_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        outside_port = free.getsockname()[1]
    settings = {
        "listeners": f"INSIDE://127.0.0.1:0,OUTSIDE://127.0.0.1:{outside_port},CONTROLLER://127.0.0.1:0",
        "advertised.listeners": "INSIDE://inside.example:1111,OUTSIDE://outside.example:2222",
        "listener.security.protocol.map": "INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "INSIDE",
    }
    properties = single_node_defaults("localhost", 0, data_dir="/in-memory")
    config = BrokerConfig.load({**properties, **settings})

    async def nodes_told(address: str) -> set[tuple[str, int]]:
        connection = await Connection.open(*parse_address(address))
        metadata = await connection.send(MetadataRequest(topics=[]), MetadataResponse)
        cluster = await connection.send(DescribeClusterRequest(), DescribeClusterResponse)
        found = {(node.host, node.port) for node in metadata.brokers}
        found |= {(node.host, node.port) for node in cluster.brokers}
        for _ in range(100):
            request = FindCoordinatorRequest(coordinator_keys=["group"])
            (answer,) = (await connection.send(request, FindCoordinatorResponse)).coordinators
            if answer.error_code == 0:
                found.add((answer.host, answer.port))
                break
            await asyncio.sleep(0.05)
        else:
            pytest.fail("there is no coordinator")
        connection.close()
        return found

    async def ask(address: str) -> None:
        assert await nodes_told(address) == {("inside.example", 1111)}
        assert await nodes_told(f"127.0.0.1:{outside_port}") == {("outside.example", 2222)}

    assert asyncio.run(while_serving(config, ask, in_memory=True)) == 0
