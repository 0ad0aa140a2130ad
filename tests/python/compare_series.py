"""Compares what is stored in Parquet with the packets it was made of, value by value, read by DuckDB and by pyarrow.

compare_series.py DATA_ROOT PACKETS.jsonl.zst...
"""
import json
import sys

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

IO = ["nread", "nwritten", "reads", "writes", "wtime", "wlentime", "rtime", "rlentime"]
# table: label columns and value columns
TABLES = {
    "oncpu": ([], ["ticks", "processes", "threads"]),
    "oncpu_core": (["core"], ["samples"]),
    "oncpu_process": (["pid", "execname", "core"], ["samples"]),
    "memory": ([], ["rss", "physcap", "swap", "swapcap"]),
    "zone_vfs": ([], IO),
    "zone_zfs": ([], IO),
    "disk": (["device"], IO),
    "net": (["link"], ["rbytes64", "obytes64", "ipackets", "opackets", "ierrors", "oerrors"]),
}


def expected(paths):
    """(table, zone, second, labels, column) -> value, of the packets."""
    values = {}
    for path in paths:
        with pa.input_stream(path, compression="zstd") as stream:
            lines = stream.read().decode().splitlines()
        for packet in map(json.loads, lines):
            zone, second = packet["zone"], packet["time"]

            def put(table, labels, row, columns, source=None):
                for column in columns:
                    name = (source or {}).get(column, column)
                    if name in row:
                        values[table, zone, second, labels, column] = row[name]

            put("oncpu", (), packet, TABLES["oncpu"][1])
            for core, samples in enumerate(packet["cpu"]):
                values["oncpu_core", zone, second, (core,), "samples"] = samples
            for p in packet["proc"]:
                values["oncpu_process", zone, second, (p["pid"], p["execname"], p["cpu"]), "samples"] = p["usage"]
            put("memory", (), packet["mem"], TABLES["memory"][1])
            for disk in packet["disk"]:
                own = disk["instance"] in ("zone_vfs", "zone_zfs")
                put(disk["instance"] if own else "disk", () if own else (disk["instance"],), disk, IO)
            for net in packet["net"]:
                put("net", (net["instance"],), net, TABLES["net"][1])
    return values


def stored(read, root, names):
    """The same of the Parquet files."""
    values = {}
    for table in names:
        labels, columns = TABLES[table]
        for row in read(root, table, ["zone", "second"] + labels + columns):
            zone, second, rest = row[0], row[1], row[2:]
            key = tuple(rest[: len(labels)])
            for column, value in zip(columns, rest[len(labels):]):
                values[table, zone, second, key, column] = value
    return values


def with_duckdb(root, table, columns):
    names = ", ".join("epoch_ns(time) // 1000000000 as second" if c == "second" else f'"{c}"' for c in columns)
    files = f"{root}/{table}/**/*.parquet"
    return duckdb.sql(f"select {names} from read_parquet('{files}', hive_partitioning = true)").fetchall()


def with_pyarrow(root, table, columns):
    dataset = ds.dataset(f"{root}/{table}", format="parquet", partitioning="hive")
    data = dataset.to_table(columns=["time" if c == "second" else c for c in columns])
    seconds = data.column("time").cast(pa.timestamp("ns", "UTC")).cast(pa.int64()).to_pylist()
    lists = [[s // 10**9 for s in seconds] if c == "second" else data.column(c).to_pylist() for c in columns]
    return list(zip(*lists))


def main():
    root, paths = sys.argv[1], sys.argv[2:]
    want = expected(paths)
    names = {key[0] for key in want}
    for read in (with_duckdb, with_pyarrow):
        have = stored(read, root, names)
        wrong = [key for key in want if have.get(key) != want[key]]
        extra = [key for key in have if key not in want and have[key] is not None]
        if wrong or extra:
            key = (wrong or extra)[0]
            sys.exit(f"{read.__name__}: {len(wrong)} wrong, {len(extra)} extra, first {key}: {have.get(key)} for {want.get(key)}")
    print(f"{len(want)} values equal in duckdb and in pyarrow")


main()
