"""What bench.py measured, as docs/BENCHMARKS.md and its plots. No number in the text comes from anywhere else, save those of FastBit
and the targets, which say so."""

import math
import pathlib
import statistics

import plot

# Measured once, on two cores like these, over 49,673 packets and 100 copies of them; its files are of another length and form, so it
# is no part of any ratio. Milliseconds with its indexes where these were faster.
FASTBIT_MS = {"a": 0.4, "b": 1.0, "c": 52, "d": 1.1, "e": 24}
# Targets of the six measures.
HOST_TARGET = {100: (0.01, 32), 1000: (0.05, 96)}
WIRE_TARGET = 450
INGEST_TARGET = 30e6
RATE_TARGET = 100_000
DISK_TARGET = 0.25
# An exponent up to which growth counts as linear: what a run's own spread makes of two points.
LINEAR = 1.05
B_TARGET_MS = 3.0


def markdown(r):
    sections = [head(r), verdicts(r), host(r), wire(r), ingest(r), transport(r), disk(r), questions(r), instructions(r), scale(r), notes()]
    return "\n\n".join(sections) + "\n"


def notes():
    """What people concluded: written by hand, kept beside the numbers."""
    return (pathlib.Path(__file__).resolve().parent / "notes.md").read_text().rstrip()


def table(header, rows):
    line = lambda cells: "| " + " | ".join(str(c) for c in cells) + " |"
    return "\n".join([line(header), "|" + "---|" * len(header), *map(line, rows)])


def met(ok):
    return "met" if ok else "**missed**"


def ms(s):
    return f"{s['median']:.1f} ({s['low']:.1f} to {s['high']:.1f})"


def head(r):
    m = r["machine"]
    changed = ", with changes that are not committed" if m["changed"] else ""
    quick = "A tenth of the data, few repetitions, short plots.\n" if r["quick"] else ""
    command = "sh bench.sh --quick" if r["quick"] else "sh bench.sh"
    origin = f"the packets in `{r['data']}`" if r["data"] else "the packets of one SmartOS machine in 2013 (generator/fixtures/series; MIT licence, Copyright (c) 2013 Lucera Financial Infrastructures)"
    data = f" of other captures (`--data`, {r['data']})" if r["data"] else ""
    return f"""# Benchmarks

What a zone-second costs: on the host, on the wire, on disk, and to ask about. This page is written by one run{data} of

    {command}

{quick}Commit {m['commit']}{changed}; {m['date']} UTC; {r['seconds'] / 60:.0f} minutes; {m['cores']} cores of {m['cpu']} (virtual), \
{m['memory_gib']} GiB, Linux {m['kernel']}, load {m['load']:.1f} at the start; {m['rustc']}; DuckDB {m['duckdb']} from PyPI. Programs are built with \
the profile `bench`: release without link-time optimisation.

The data: {origin}, {r['one']['frames']:,} of them, played through the generator's own code, and {r['many']['copies']} copies of them with zone names \
of their own: {r['many']['frames']:,} frames. *Values* are counted twice: **of the original**, whose table has 130 columns a packet, so that numbers \
compare with the system that this one replaces; and **own**, the values in our tables that are not NULL, without host, zone and time.

Every pair that is compared ran in turns. Times are medians, with the middle half of the runs behind them."""


def verdicts(r):
    rows = []
    hosts = {h["zones"]: h for h in r["host"]}
    for zones, (cpu, mib) in HOST_TARGET.items():
        h = hosts[zones]["bare"]
        rows.append((f"Host, {zones:,} zones: CPU", f"< {cpu:.0%} of a core", f"{h['cpu']:.2%}", met(h["cpu"] < cpu)))
        rows.append((f"Host, {zones:,} zones: memory", f"< {mib} MiB", f"{h['resident_kib'] / 1024:.0f} MiB", met(h["resident_kib"] < mib * 1024)))
    w = r["wire"]
    for key, name in (("zones", "frame of a zone, mean"), ("all", "of any, the global zone's included, mean"), ("full", "of a zone with 20 processes, mean")):
        if w[key]["frames"]:
            rows.append((f"Wire: {name}", f"< {WIRE_TARGET} bytes", f"{w[key]['mean']:.0f}", met(w[key]["mean"] < WIRE_TARGET)))
    speed = r["many"]["original_values"] / r["many"]["ingest"]["cpu_s"]
    rows.append(("Ingest: values of the original", "30 M a second and core", f"{speed / 1e6:.1f} M", met(speed >= INGEST_TARGET)))
    heard = best(r["flood"]["hear"])
    rows.append(("Ingest: frames through ZeroMQ, nothing lost", "100,000 a second", f"{heard:,.0f}", met(heard >= 0.98 * RATE_TARGET)))
    for name, one in stores(r):
        size = one["disk"] / one["original_values"]
        rows.append((f"Disk: bytes a value of the original, {name}", f"<= {DISK_TARGET}", f"{size:.3f}", met(size <= DISK_TARGET)))
    q = r["questions"]
    about = {"running": "running process", "fresh": "fresh process (DuckDB's starts Python first)"}
    for threads in (1, 2):
        for where in ("running", "fresh"):
            worst = {}
            for name in "abcde":
                one = q[f"{name}{threads}"] if where == "running" else q[f"{name}{threads}"]["fresh"]
                worst[name] = one["zonescope"]["median"] / one["duckdb"]["median"]
            slower = [f"({n}) {x:.1f} x" for n, x in worst.items() if x > 1.05]
            rows.append((f"Questions, {about[where]}, {threads} thread{'s' if threads > 1 else ''}", "no slower than DuckDB", "slower: " + ", ".join(slower) if slower else "none slower", met(not slower)))
    b = q["b1"]["zonescope"]["median"]
    rows.append(("Question (b), running process, 1 thread", f"< {B_TARGET_MS:.0f} ms", f"{b:.1f} ms", met(b < B_TARGET_MS)))
    steepest = max(growth(r), key=lambda g: g[-1])
    rows.append(("Scale: growth of any measure with zones or hours, last step", "linear or less", f"n^{steepest[-1]:.2f}: {steepest[0]}, {steepest[1]}", met(steepest[-1] <= LINEAR)))
    return "## Targets and results\n\n" + table(("measure", "target", "result", ""), rows)


def stores(r):
    copies = r["many"]["copies"]
    return (("1 copy", r["one"]), (f"{copies} copies, no two alike", r["apart"]), (f"{copies} copies, alike", r["many"]))


def best(floods):
    """The highest rate at which nothing was lost."""
    return max((f["frames"] / f["wall_s"] for f in floods if f["missing"] == 0 and f["frames"] == f["asked"] and f["wall_s"] > 0), default=0)


def host(r):
    rows = []
    for h in r["host"]:
        bare, ring = h["bare"], h["ring"]
        rows.append((f"{h['zones']:,}", f"{bare['cpu']:.2%}", f"{bare['resident_kib'] / 1024:.1f}", f"{ring['cpu']:.2%}", f"{ring['resident_kib'] / 1024:.1f}", f"{bare['bytes_per_tick'] / 1000:.1f}"))
    return "## Host\n\nThe generator, one tick a second, a subscriber listening. It reads a `kstat -p` of a host in 2013 with so many zones, held in memory: \
what the kernel takes to update a real chain is not in it, the capture's own memory is. The ring of recent frames stands apart: it grows up to its bound \
(64 MiB by default), and here it has the frames of so many seconds.\n\n" + table(
        ("zones", "CPU of a core", "resident MiB", "CPU with the ring", "resident MiB with the ring of " + f"{r['host'][0]['ring']['ticks']} s", "KB a tick, all frames"), rows)


def wire(r):
    w = r["wire"]
    rows = [(name, f"{w[key]['frames']:,}", f"{w[key]['mean']:.0f}", w[key]["least"], w[key]["median"], w[key]["most"])
            for key, name in (("all", "all packets"), ("zones", "of zones: 2 disks, 1 link, 16 cores, 0 to 20 processes"), ("full", "of these, with 20 processes"), ("global", "of the global zone: 14 or 15 disks, 2 links, host memory"))
            if w[key]["frames"]]
    return f"## Wire\n\nBytes of a frame with the content of the captured packets, header included ({w['header_mean']:.0f} bytes of it). The packet of 2013 averaged 622.\n\n" + table(
        ("frames", "how many", "mean", "least", "median", "most"), rows) + f"\n\nA frame has {w['values_per_frame']:.0f} values in {w['rows_per_frame']:.0f} rows."


def ingest(r):
    rows = []
    for name, one in (("1 copy", r["one"]), (f"{r['many']['copies']} copies", r["many"])):
        cpu = one["ingest"]["cpu_s"]
        rows.append((name, f"{one['frames']:,}", f"{one['original_values'] / cpu / 1e6:.1f}", f"{one['values'] / cpu / 1e6:.1f}", f"{one['frames'] / cpu:,.0f}",
                     f"{one['append']['cpu_s']:.1f}", f"{one['sync']['cpu_s']:.1f}", f"{one['flush']['cpu_s']:.1f}", f"{one['ingest']['wall_s']:.1f}", f"{one['compact']['cpu_s']:.1f}", f"{one['peak_kib'] / 1024:.0f}"))
    text = "## Ingest\n\nEncoded frames to durable Parquet on one thread: decoded, logged, synced once a second, flushed; all as the collector does it, its memory at the default.\n\n"
    text += table(("data", "frames", "M values of the original / CPU s", "M own values / CPU s", "frames / CPU s", "decode, log, gather: CPU s", "write and sync the log", "Parquet", "wall s", "compaction after: CPU s", "peak MiB, workload included"), rows)
    rows = [("a subscriber that counts", f["rate"], f["asked"], f) for f in r["flood"]["hear"]] + [("the columnar collector, to Parquet", f["rate"], f["asked"], f) for f in r["flood"]["store"]]
    text += "\n\nThrough ZeroMQ, 1,000 zones, publisher and subscriber on the same cores; frames that were dropped on the way are asked for again. Of the collector the time ends when the last frame is on disk, up to a second after it came:\n\n"
    text += table(("to", "published a second", "frames", "arrived a second", "asked for again", "lost", "CPU s of the subscriber"),
                  [(to, f"{rate:,}", f"{asked:,}", f"{f['frames'] / f['wall_s']:,.0f}" if f["wall_s"] else "-", f"{f['recovered']:,}", f"{f['missing'] + max(0, asked - f['frames'] - f['missing']):,}", f"{f['cpu_s']:.1f}") for to, rate, asked, f in rows])
    return text


def transport(r):
    names = {"plain": "in plain", "curve": "by CURVE", "zeromq": "in plain, published by the crate zeromq"}
    middle = lambda runs, key: f"{statistics.median(run[key] for run in runs):,.0f}"
    rows = [(names[name], middle(runs, "frames_per_s"), middle(runs, "pub_cpu_ns_per_frame"), middle(runs, "sub_cpu_ns_per_frame"), sum(run["lost"] for run in runs))
            for name, runs in r["transport"].items()]
    first = r["transport"]["plain"][0]
    return f"""## Transport

{first['frames']:,} frames of {first['frame_bytes']} bytes from one publisher to one subscriber over loopback, each on a thread of its own, at most 10,000 under way; \
medians of {len(r['transport']['plain'])} runs.

{table(("", "frames/s", "publisher, CPU ns a frame", "subscriber, CPU ns a frame", "lost"), rows)}"""


def disk(r):
    many = r["many"]
    rows = [(name, f"{t['bytes']:,}", t["files"], f"{t['bytes'] / many['frames']:.2f}") for name, t in sorted(many["tables"].items(), key=lambda kv: -kv[1]["bytes"])]
    rows.append(("all", f"{many['disk']:,}", sum(t["files"] for t in many["tables"].values()), f"{many['disk'] / many['frames']:.2f}"))
    return f"""## Disk

Compacted; everything that the store holds, the tables `frames` and `completeness` included, which the original had nothing like. Copies lie side by side \
in a store, and what compresses finds one in the other. Where no two are alike, each begins two hours further in the captures than the one before: that is what zones of a host may expect.

{table(("data", "bytes a value of the original", "bytes an own value"), [(name, f"{x['disk'] / x['original_values']:.3f}", f"{x['disk'] / x['values']:.3f}") for name, x in stores(r)])}

Of the copies that are alike:

{table(("table", "bytes", "files", "bytes a frame"), rows)}"""


def questions(r):
    q = r["questions"]
    text = f"""## Questions

{r['many']['frames']:,} frames of {r['many']['copies']} copies, compacted. The same files, the same question, the same answer, one engine after the other. *Running*: a process that has answered it before. \
*Fresh*: a process of its own, `zonescope-collector-columnar query` or Python with DuckDB, of whose time {ms(q['duckdb_start'])} ms is starting. FastBit's numbers (with its indexes) \
were measured once, elsewhere, on a table of its own with 4.97 million rows, 100 copies: they say where the aim is, and are part of no ratio.
"""
    for threads in (1, 2):
        rows = []
        for name in "abcde":
            one = q[f"{name}{threads}"]
            fresh = one["fresh"]
            ratio = lambda o: f"{o['zonescope']['median'] / o['duckdb']['median']:.2f}"
            rows.append((f"({name}) {one['about']}", ms(one["zonescope"]), ms(one["duckdb"]), ratio(one), ms(fresh["zonescope"]), ms(fresh["duckdb"]), ratio(fresh), FASTBIT_MS[name]))
        text += f"\n{threads} thread{'s' if threads > 1 else ''}, ms:\n\n" + table(("question", "running: zonescope", "DuckDB", "ratio", "fresh: zonescope", "DuckDB", "ratio", "FastBit"), rows) + "\n"
    for name in "abcde":
        text += f"\n    ({name}) {q[name + '1']['sql']}"
    return text


def instructions(r):
    i = r["instructions"]
    if not i:
        return "## Instructions\n\nNot counted: valgrind is not installed."
    about = {"tick": "a tick of ten zones: reading the chain, projecting, numbering, encoding", "decode": "decoding a frame, and walking over it", "append": "the same, and log and buffers", "flush": "the same, and Parquet"}
    return "## Instructions\n\nOf the hot paths, as valgrind counts them: these repeat where times do not.\n\n" + table(("path", "instructions"), [(about[k], f"{v:,.0f}") for k, v in i.items()])


def scale(r):
    plots = (("host", "The generator's CPU and memory"), ("wire", "Bytes of a tick"), ("ingest-zones", "Ingest, by zones"), ("ingest-time", "Ingest, by time"), ("disk", "Bytes a frame"), ("questions-zones", "Questions, by zones"), ("questions-time", "Questions, by time"))
    body = "\n\n".join(f"{text}\n\n![{text}](benchmarks/{name}.svg)" for name, text in plots)
    rows = [(what, by, f"{first:,.0f} to {last:,.0f}", f"{times:.1f} x", f"n^{power:.2f}") for what, by, first, last, times, power in growth(r)]
    body = table(("measure", "with", "last step", "grew", "as"), rows) + "\n\n" + body
    return f"## Scale\n\nFrom 10 to {r['scale_zones'][-1]['zones']:,} zones for two minutes each, and one zone from an hour to {r['scale_time'][-1]['hours'] / 24:.0f} days of packets: the zone with the longest capture, played on and on. A straight line at the slope of the grid is linear growth.\n\n{body}"


def growth(r):
    """How each measure grew over the last step of zones or hours, and the exponent which that is."""
    zones, hours = r["scale_zones"], r["scale_time"]
    hosts = sorted(({h["zones"]: h for h in r["host"] + [z["host"] for z in zones]}).items())
    series = [
        ("CPU of the generator", "zones", [(n, h["bare"]["cpu"]) for n, h in hosts]),
        ("memory of the generator", "zones", [(n, h["bare"]["resident_kib"]) for n, h in hosts]),
        ("bytes of a tick", "zones", [(n, h["bare"]["bytes_per_tick"]) for n, h in hosts]),
    ]
    for by, points in (("zones", zones), ("hours", hours)):
        series += [
            ("CPU of ingest and compaction", by, [(p[by], p["ingest"]["cpu_s"] + p["compact"]["cpu_s"]) for p in points]),
            ("bytes on disk", by, [(p[by], p["disk"]) for p in points]),
            *((f"question ({n})", by, [(p[by], p["questions"][f"{n}1"]["zonescope"]["median"]) for p in points]) for n in "abcde"),
        ]
    grown = []
    for what, by, points in series:
        (n, before), (m, after) = points[-2:]
        grown.append((what, by, n, m, after / before, math.log(after / before) / math.log(m / n)))
    return grown


def plots(r, folder):
    draw = lambda name, *rest: plot.plot(folder / f"{name}.svg", *rest)
    zones, hours = r["scale_zones"], r["scale_time"]
    hosts = sorted({h["zones"]: h for h in r["host"] + [z["host"] for z in zones]}.items())
    draw("host", "Generator, a tick a second", "zones", "% of a core, MiB", {"% of a core": [(n, h["bare"]["cpu"] * 100) for n, h in hosts], "resident MiB": [(n, h["bare"]["resident_kib"] / 1024) for n, h in hosts]})
    draw("wire", "Frames of a tick", "zones", "bytes", {"all frames": [(n, h["bare"]["bytes_per_tick"]) for n, h in hosts]})
    cost = lambda p: p["ingest"]["cpu_s"] * 1e6 / p["frames"]
    draw("ingest-zones", "Ingest", "zones", "CPU µs a frame", {"to Parquet": [(p["zones"], cost(p)) for p in zones], "compaction": [(p["zones"], p["compact"]["cpu_s"] * 1e6 / p["frames"]) for p in zones]})
    draw("ingest-time", "Ingest, one zone", "hours", "CPU µs a frame", {"to Parquet": [(p["hours"], cost(p)) for p in hours], "compaction": [(p["hours"], p["compact"]["cpu_s"] * 1e6 / p["frames"]) for p in hours]})
    draw("disk", "Disk", "zones, or hours", "bytes a frame", {"by zones": [(p["zones"], p["disk"] / p["frames"]) for p in zones], "by hours, 1 zone": [(p["hours"], p["disk"] / p["frames"]) for p in hours]})
    for name, points, by in (("questions-zones", zones, "zones"), ("questions-time", hours, "hours")):
        draw(name, "Questions, running process, one thread", by, "ms", {f"({n})": [(p[by], p["questions"][f"{n}1"]["zonescope"]["median"]) for p in points] for n in "abcde"})
