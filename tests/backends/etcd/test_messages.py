"""The messages: the same on the wire as the ones etcd3 ships, and in nobody's way."""

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2

from tenure_etcd.messages import MESSAGES, METHODS

_LATER = {
    # What came with 3.4, which etcd3's copy is older than.
    ("WatchCreateRequest", "watch_id"),
    ("WatchCreateRequest", "fragment"),
    ("WatchResponse", "fragment"),
    ("WatchRequest", "progress_request"),
    ("Member", "isLearner"),
    ("MemberAddRequest", "isLearner"),
    ("MemberListRequest", "linearizable"),
    ("StatusResponse", "isLearner"),
    ("StatusResponse", "storageVersion"),
    ("StatusResponse", "dbSizeQuota"),
    ("StatusResponse", "raftAppliedIndex"),
    ("StatusResponse", "errors"),
    ("StatusResponse", "dbSizeInUse"),
}


def _shipped() -> dict[str, Any]:
    """The messages and services in etcd3's generated code, read from its text since it can't be imported."""
    spec = importlib.util.find_spec("etcd3")
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "etcdrpc"
    found: dict[str, Any] = {}
    for name in ("kv", "auth", "rpc"):
        text = (folder / f"{name}_pb2.py").read_text(encoding="latin-1")
        literal = re.search(r"serialized_pb=_b\((.*)\)\n", text)
        assert literal is not None
        file = descriptor_pb2.FileDescriptorProto.FromString(ast.literal_eval(literal[1]).encode("latin-1"))
        found.update({message.name: message for message in file.message_type})
        found.update({f"service {service.name}": service for service in file.service})
    return found


def test_every_field_is_what_etcd3_ships() -> None:
    shipped = _shipped()
    compared = 0
    for name, message in MESSAGES.items():
        if name not in shipped:
            assert name == "WatchProgressRequest"
            continue
        theirs = {field.name: field for field in shipped[name].field}
        for field in message.DESCRIPTOR.fields:
            if (name, field.name) in _LATER and field.name not in theirs:
                continue
            assert (field.number, field.type) == (theirs[field.name].number, theirs[field.name].type), (
                name,
                field.name,
            )
            repeated = theirs[field.name].label == descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
            # A repeated field refuses to be set to one value.
            assert isinstance(getattr(message(), field.name), (bool, int, str, bytes)) or repeated or field.message_type
            compared += 1
    assert compared > 150


def test_every_method_is_what_etcd3_ships() -> None:
    shipped = _shipped()
    for service, methods in METHODS.items():
        theirs = {method.name: method for method in shipped[f"service {service}"].method}
        for name, method in methods.items():
            assert method.request == theirs[name].input_type.rpartition(".")[2]
            assert method.response == theirs[name].output_type.rpartition(".")[2]
            assert method.request_streams == theirs[name].client_streaming
            assert method.response_streams == theirs[name].server_streaming


def test_messages_survive_the_wire() -> None:
    request = MESSAGES["TxnRequest"](
        compare=[MESSAGES["Compare"](target=2, key=b"k", mod_revision=7)],
        success=[MESSAGES["RequestOp"](request_put=MESSAGES["PutRequest"](key=b"k", value=b"\0\xff"))],
    )
    again = MESSAGES["TxnRequest"].FromString(request.SerializeToString())
    assert again == request
    assert again.success[0].WhichOneof("request") == "request_put"


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(
            "from google.protobuf import descriptor_pb2 as d, descriptor_pool as p\n"
            "f = d.FileDescriptorProto(name='rpc.proto', package='etcdserverpb', syntax='proto3')\n"
            "f.message_type.add(name='RangeRequest').field.add(name='other', number=1, type=5, label=1)\n"
            "p.Default().AddSerializedFile(f.SerializeToString())\n"
            "import tenure_etcd.messages\n"
            "assert tenure_etcd.messages.MESSAGES['RangeRequest'](key=b'k').key == b'k'\n",
            id="beside another rpc.proto",
        ),
        pytest.param(
            "import tenure_etcd.connection, etcd3, os\n"
            "assert etcd3.etcdrpc.RangeRequest(key=b'k').key == b'k'\n"
            "assert etcd3.etcdrpc.NOSPACE == 1\n"
            "client = etcd3.client()\n"
            "client.close()\n"
            "assert 'GRPC_VERBOSITY' not in os.environ\n",
            id="etcd3 imports",
        ),
        pytest.param(
            "import contextlib\n"
            "with contextlib.suppress(TypeError):\n"
            "    import etcd3\n"
            "import tenure_etcd.connection, etcd3\n"
            "assert etcd3.Etcd3Client\n",
            id="etcd3 imports after it has failed to",
        ),
        pytest.param(
            "import tenure_etcd.plugin, sys\nassert not {'grpc', 'etcd3', 'google.protobuf'} & set(sys.modules)\n",
            id="the plugin module loads no client",
        ),
    ],
)
def test_in_a_process_of_its_own(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
