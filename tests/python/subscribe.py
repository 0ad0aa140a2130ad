"""Takes frames of one zone with a plain SUB and checks what comes: subscribe.py PROTO_DIR ENDPOINT ZONE COUNT"""
import importlib
import itertools
import os
import sys
import tempfile

import zmq
from grpc_tools import protoc


def frame_class(proto_dir):
    """The class Frame, generated from frame.proto as any Python program would do it."""
    out = tempfile.mkdtemp()
    include = os.path.join(os.path.dirname(protoc.__file__), "_proto")
    code = protoc.main(["", f"-I{proto_dir}", f"-I{include}", f"--python_out={out}", "frame.proto"])
    if code != 0:
        sys.exit(f"protoc ended with {code}")
    sys.path.insert(0, out)
    return importlib.import_module("frame_pb2").Frame


def processes(c):
    """The rows of oncpu_process, put together as frame.proto says."""
    for pid, name, core, samples in zip(itertools.accumulate(c.pid_step), c.name, c.core, c.samples):
        yield pid, c.execname[name], core, samples


def main():
    proto_dir, endpoint, zone, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    frame_type = frame_class(proto_dir)
    socket = zmq.Context().socket(zmq.SUB)
    socket.setsockopt(zmq.RCVTIMEO, 20_000)
    socket.setsockopt_string(zmq.SUBSCRIBE, f"{zone}/")
    socket.connect(endpoint)
    zones, sequences, rows = set(), [], 0
    for _ in range(count):
        topic, body = socket.recv_multipart()
        frame = frame_type.FromString(body)
        header = frame.header
        assert topic.decode() == f"{header.zone.name}/{header.host_id}", topic
        assert header.version == 1 and header.interval_ms > 0
        assert frame.memory.HasField("rss") and not frame.memory.HasField("nover"), "absent is not zero"
        assert len(frame.oncpu_core_samples) == 16
        for pid, execname, core, samples in processes(frame.oncpu_process_columns):
            assert pid > 0 and execname and core < 16 and samples > 0, (pid, execname, core, samples)
            rows += 1
        zones.add(header.zone.name)
        sequences.append(header.sequence)
    assert zones == {zone}, zones
    assert sequences == list(range(sequences[0], sequences[0] + count)), sequences
    assert rows > count, f"{rows} processes in {count} frames"
    print(f"{count} frames of 1 zone, in sequence")


main()
