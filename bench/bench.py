"""Measures what a zone-second costs, and writes docs/BENCHMARKS.md. `sh bench.sh` starts it.

Everything that is compared is run in turns, one then the other, so that what else the machine does meets both. Times are medians;
beside them the middle half of the runs.
"""

import argparse
import glob
import json
import os
import pathlib
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time

import duckdb
import zmq

import chain
import plot
import report

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
KSTATS = ROOT / "generator/fixtures/kstat/smartos-2013-zone6.kstat-p.txt.zst"
SERIES = ROOT / "generator/fixtures/series"
# Plots over zones and over time use one capture, of one zone in a zone's shape; 3,600 packets are an hour.
LONGEST = "zoneA-20130813T00-14.packets.jsonl.zst"
PAGE = os.sysconf("SC_PAGE_SIZE")


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


class Bench:
    def __init__(self, options):
        self.bin = options.bin
        self.data = options.data
        self.quick = options.quick
        self.dir = options.dir
        self.longest = self.subset("longest", LONGEST)
        self.kept = []

    def subset(self, name, pattern):
        """A folder with only those captures of that name, or with the largest of a zone where there is none."""
        folder = self.dir / name
        folder.mkdir(parents=True, exist_ok=True)
        others = list(self.data.glob("*.packets.jsonl.zst"))
        of_zones = [file for file in others if not file.name.startswith("global-")]
        files = sorted(self.data.glob(pattern)) or [max(of_zones or others, key=lambda file: file.stat().st_size)]
        for file in files:
            link = folder / file.name
            link.unlink(missing_ok=True)
            link.symlink_to(file)
        return folder

    def program(self, name, *arguments, **options):
        return subprocess.Popen([self.bin / name, *map(str, arguments)], text=True, **options)

    def part(self, *arguments):
        """Runs a part to its end; gives what it printed."""
        done = subprocess.run([self.bin / "zonescope-bench", *map(str, arguments)], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"zonescope-bench {' '.join(map(str, arguments))}: {done.stderr or done.returncode}")
        return json.loads(done.stdout)

    def fresh(self, name):
        folder = self.dir / name
        shutil.rmtree(folder, ignore_errors=True)
        return folder

    # Host

    def host(self, zones, seconds):
        """CPU and memory of a generator that reads a chain of so many zones once a second, without and with its ring."""
        capture = self.dir / f"chain-{zones}.txt"
        chain.write(KSTATS, zones, capture)
        result = {"zones": zones}
        for name, config in (("bare", 'recovery_bind = "off"\n'), ("ring", "")):
            port = free_port()
            settings = self.dir / "generator.toml"
            settings.write_text(f'bind = "tcp://127.0.0.1:{port}"\n{config}')
            arguments = ["run", "--config", settings, "--source", f"recorded:{capture}", "--loop"]
            generator = self.program("zonescope-generator", *arguments, stderr=subprocess.DEVNULL)
            result[name] = watch(generator, port, seconds)
            stop(generator)
        capture.unlink()
        return result

    # Ingest, disk

    def store(self, name, data, **options):
        """Makes a store of frames; gives what that cost, and what is on disk."""
        root = self.fresh(name)
        flags = [f"--{key}" if value is True else f"--{key}={value}" for key, value in options.items()]
        result = self.part("ingest", "--data", data, "--root", root, *flags)
        result["tables"] = tables(root)
        result["disk"] = sum(table["bytes"] for table in result["tables"].values())
        return root, result

    # Questions

    def questions(self, root, rounds):
        """The five questions, of a running process and of one that starts, beside DuckDB on the same files."""
        result = self.running(root, rounds, (1, 2))
        self.fresh_processes(root, max(3, rounds // 2), result)
        return result

    def running(self, root, rounds, numbers_of_threads):
        """The questions to a process that has answered them before."""
        texts = questions(root)
        result = {}
        for threads in numbers_of_threads:
            ours = self.program("zonescope-bench", "ask", "--root", root, "--threads", threads, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            theirs = connection(threads)
            for name, (about, mine, other) in texts.items():
                times = {"zonescope": [], "duckdb": []}
                for round in range(rounds + 1):
                    ours.stdin.write(mine + "\n")
                    ours.stdin.flush()
                    line = ours.stdout.readline()
                    if not line:
                        sys.exit(f"question {name}: zonescope gave no answer: {mine}")
                    answer = json.loads(line)
                    began = time.perf_counter_ns()
                    rows = theirs.execute(other).fetchall()
                    ns = time.perf_counter_ns() - began
                    compare(name, answer["csv"], rows)
                    if round > 0:
                        times["zonescope"].append(answer["ns"] / 1e6)
                        times["duckdb"].append(ns / 1e6)
                result[f"{name}{threads}"] = {"about": about, "sql": mine, "selects": rows[0][0] if len(rows) == 1 else len(rows), **{k: spread(v) for k, v in times.items()}}
            ours.stdin.close()
            ours.wait()
            theirs.close()
        return result

    def fresh_processes(self, root, rounds, result):
        """The questions to a process of their own each."""
        for threads in (1, 2):
            for name, (_, mine, other) in questions(root).items():
                times = {"zonescope": [], "duckdb": []}
                script = f"import duckdb; c = duckdb.connect(config={{'threads': {threads}}}); print(c.execute({other!r}).fetchall())"
                commands = {
                    "zonescope": [self.bin / "zonescope-collector-columnar", "query", "--root", root, "--threads", str(threads), "--format", "csv", mine],
                    "duckdb": [sys.executable, "-c", script],
                }
                for _ in range(rounds):
                    for engine, command in commands.items():
                        began = time.perf_counter_ns()
                        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                        times[engine].append((time.perf_counter_ns() - began) / 1e6)
                result[f"{name}{threads}"]["fresh"] = {k: spread(v) for k, v in times.items()}
        times = []
        for _ in range(5):
            began = time.perf_counter_ns()
            subprocess.run([sys.executable, "-c", "import duckdb; duckdb.connect().execute('select 1').fetchall()"], check=True, stdout=subprocess.DEVNULL)
            times.append((time.perf_counter_ns() - began) / 1e6)
        result["duckdb_start"] = spread(times)

    # ZeroMQ

    def transport(self, rounds):
        """A frame from publisher to subscriber, in plain, by CURVE, and of the crate zeromq's publisher, in turns."""
        runs = {}
        for _ in range(rounds):
            command = ["cargo", "bench", "--quiet", "--locked", "-p", "zonescope-link", "--bench", "throughput", "--", "--json"]
            done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
            if done.returncode != 0:
                sys.exit(f"{' '.join(command)}: {done.stderr or done.returncode}")
            for line in done.stdout.splitlines():
                run = json.loads(line)
                runs.setdefault(run["pub"], []).append(run)
        return runs

    def flood(self, rate, frames, store):
        """So many frames a second, to a subscriber that counts, or to the collector."""
        port, recovery = free_port(), free_port()
        arguments = ["publish", "--data", self.longest, "--bind", f"tcp://127.0.0.1:{port}", "--recovery-bind", f"tcp://127.0.0.1:{recovery}"]
        publisher = self.program("zonescope-bench", *arguments, "--frames", frames, "--rate", rate, "--stay", 600, stdout=subprocess.PIPE)
        began = time.monotonic()
        if not store:
            hearer = self.program("zonescope-bench", "hear", "--connect", f"tcp://127.0.0.1:{port}", "--frames", frames, "--patience", 20, stdout=subprocess.PIPE)
            result = json.loads(hearer.communicate(timeout=600)[0])
            publisher.send_signal(signal.SIGKILL)
            publisher.wait()
            return {"rate": rate, "asked": frames, **result}
        root = self.fresh("flood")
        collector = self.program("zonescope-collector-columnar", "run", "--connect", f"tcp://127.0.0.1:{port}", "--root", root, stderr=subprocess.DEVNULL)
        durable, first, cpu = 0, None, 0.0
        last_change = time.monotonic()
        count = "select count(*) filter (where zone <> ''), min(time) from frames"
        # The newest second is in the log: its size says when frames stop coming, a question at the end how many came.
        size = 0
        while time.monotonic() - last_change < 5 or first is None:
            time.sleep(0.1)
            now = written(root)
            if now != size:
                size, last_change = now, time.monotonic()
                first = first or last_change
                cpu = cpu_seconds(collector.pid)
            if time.monotonic() - began > 300:
                break
        stop(collector)
        publisher.send_signal(signal.SIGKILL)
        publisher.wait()
        answer = self.ask(root, "select count(*) from frames where zone <> ''")
        lost = self.ask(root, 'select coalesce(sum("count"), 0) from gaps')
        recovered = self.ask(root, "select coalesce(sum(recovered), 0) from frames where zone <> ''")
        shutil.rmtree(root)
        return {"rate": rate, "asked": frames, "frames": answer, "missing": lost, "recovered": recovered, "wall_s": last_change - first, "cpu_s": cpu}

    def ask(self, root, sql):
        done = subprocess.run([self.bin / "zonescope-collector-columnar", "query", "--root", root, "--format", "csv", sql], capture_output=True, text=True, check=True)
        return int(done.stdout.split()[-1])

    # Instructions

    def instructions(self):
        """Instructions of the hot paths, a tick of a chain of ten zones or a frame, as valgrind counts them."""
        if shutil.which("valgrind") is None:
            return {}
        capture = self.dir / "chain-10.txt"
        chain.write(KSTATS, 10, capture)
        small = self.subset("small", "zoneB-20130813T1645*")
        paths = {"tick": (capture, 2, 12), "decode": (small, 100, 1100), "append": (small, 100, 1100), "flush": (small, 100, 1100)}
        result = {}
        for path, (data, few, many) in paths.items():
            counts = []
            for times in (few, many):
                root = self.fresh("hot")
                out = self.dir / "callgrind.out"
                done = subprocess.run(
                    ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", self.bin / "zonescope-bench", "hot", path, "--times", str(times), "--data", data, "--root", root],
                    capture_output=True, text=True, check=True)
                counts.append(int(done.stderr.split("Collected :")[1].split()[0]))
            result[path] = (counts[1] - counts[0]) / (many - few)
        return result


def questions(root):
    """Five questions, in our SQL and in DuckDB's. Their ranges come from the data: shares of its rows, whatever it is."""
    files = lambda table: f"read_parquet('{root}/{table}/*/*/*.parquet', hive_partitioning = false)"
    con = duckdb.connect()
    nread = window(con, files("zone_vfs"), "nread", 0.001)
    rbytes = window(con, files("net"), "rbytes64", 0.012)
    packets = con.execute(f"select quantile_disc(ipackets, 0.5), max(ipackets) from {files('net')} where rbytes64 between {rbytes[0]} and {rbytes[1]}").fetchone()
    zone, begin, end = con.execute(f"select zone, epoch_ns(min(time)), epoch_ns(max(time)) from {files('zone_vfs')} group by zone order by count(*) desc, zone limit 1").fetchone()
    # In the middle of what there is of it.
    begin += max(0, end - begin - 600 * 10**9) // 2 // 10**9 * 10**9
    con.close()
    both = {
        "a": ("count, one column in a range, all zones", "zone_vfs", "select count(*) from {} where nread between %d and %d" % tuple(nread)),
        "b": ("avg and max of 3 columns, one zone, 10 minutes", "zone_vfs",
              "select avg(reads), max(reads), avg(writes), max(writes), avg(nread), max(nread) from {} where zone = '%s' and time >= {time0} and time < {time1}" % zone),
        "c": ("group by zone, avg", "oncpu", "select zone, avg(threads) from {} group by zone order by zone"),
        "d": ("count over two ranges", "net", "select count(*) from {} where rbytes64 between %d and %d and ipackets between %d and %d" % (*rbytes, *packets)),
        "e": ("sum of one column", "oncpu", "select sum(threads) from {}"),
    }
    stamp = lambda ns: time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(ns // 10**9))
    ends = {"time0": stamp(begin), "time1": stamp(begin + 600 * 10**9)}
    times = {key: f"timestamp '{end}'" for key, end in ends.items()}
    theirs = {key: f"cast('{end}' as timestamptz_ns)" for key, end in ends.items()}
    return {name: (about, text.format(table, **times), text.format(files(table), **theirs)) for name, (about, table, text) in both.items()}


def window(con, files, column, share):
    """Two values of a column between which are as nearly that share of its rows as can be, at about the middle."""
    counts = con.execute(f"select {column}, count(*) from {files} group by 1 order by 1").fetchall()
    wanted = share * sum(n for _, n in counts)
    best, end, rows = None, 0, 0
    for begin in range(len(counts)):
        while end < len(counts) and rows < wanted:
            rows += counts[end][1]
            end += 1
        if rows < wanted:
            break
        found = (abs(rows - wanted), abs(begin - len(counts) // 2), counts[begin][0], counts[end - 1][0])
        best = min(best or found, found)
        rows -= counts[begin][1]
    return best[2:]


def connection(threads):
    return duckdb.connect(config={"threads": threads})


def compare(name, csv, rows):
    """Both engines must say the same; means to nine digits."""
    mine = [line.split(",") for line in csv.splitlines()[1:]]
    for left, right in zip(mine, rows, strict=True):
        for a, b in zip(left, right, strict=True):
            same = a == str(b or "") if b is None or isinstance(b, str) else abs(float(a) - float(b)) <= 1e-9 * abs(float(b))
            if not same:
                sys.exit(f"question {name}: zonescope says {a}, DuckDB {b}")


def spread(values):
    """Median, and the middle half."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": middle, "low": low, "high": high, "runs": len(values)}


def tables(root):
    """Bytes and files of each table."""
    result = {}
    for file in glob.glob(f"{root}/*/date=*/hour=*/*.parquet"):
        table = result.setdefault(pathlib.Path(file).relative_to(root).parts[0], {"bytes": 0, "files": 0})
        table["bytes"] += os.path.getsize(file)
        table["files"] += 1
    return result


def written(root):
    """Bytes that the collector has written below `root`."""
    size = 0
    for folder, _, files in os.walk(root):
        for file in files:
            try:
                size += os.path.getsize(os.path.join(folder, file))
            except OSError:
                pass
    return size


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def cpu_seconds(pid):
    """CPU time of its threads, to the ns: /proc/PID/stat counts in hundredths of a second."""
    return sum(int(pathlib.Path(task).read_text().split()[0]) for task in glob.glob(f"/proc/{pid}/task/*/schedstat")) / 1e9


def resident_kib(pid):
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE // 1024


def watch(generator, port, seconds):
    """What a generator costs, and what it sends, second by second, a subscriber listening."""
    context = zmq.Context()
    subscriber = context.socket(zmq.SUB)
    subscriber.setsockopt(zmq.RCVHWM, 100_000)
    subscriber.setsockopt(zmq.SUBSCRIBE, b"")
    subscriber.connect(f"tcp://127.0.0.1:{port}")
    settle = time.monotonic() + 120
    # The host frame ends a tick. The first ticks pay for opening the capture.
    ticks, sizes, zones, begun, cpu = 0, [], 0, None, 0.0
    size = frames = 0
    while ticks < seconds + 3:
        if not subscriber.poll(1000):
            if time.monotonic() > settle or generator.poll() is not None:
                sys.exit("the generator sends nothing")
            continue
        topic, frame = subscriber.recv_multipart()
        size += len(frame)
        frames += 1
        if topic.startswith(b"/"):
            ticks += 1
            if ticks == 3:
                begun, cpu = time.monotonic(), cpu_seconds(generator.pid)
            elif ticks > 3:
                sizes.append(size)
            zones, size, frames = frames - 1, 0, 0
    wall, spent = time.monotonic() - begun, cpu_seconds(generator.pid) - cpu
    result = {"cpu": spent / wall, "resident_kib": resident_kib(generator.pid), "bytes_per_tick": statistics.median(sizes), "topics": zones, "ticks": len(sizes), "wall_s": wall}
    subscriber.close(0)
    context.term()
    return result


def stop(process):
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def machine():
    cpu = next(line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    memory = int(open("/proc/meminfo").readline().split()[1]) >> 20
    version = lambda *command: subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout.strip()
    return {
        "cpu": cpu, "cores": os.cpu_count(), "memory_gib": memory, "kernel": platform.release(),
        "rustc": version("rustc", "--version"), "duckdb": duckdb.__version__, "python": platform.python_version(),
        "commit": version("git", "rev-parse", "--short=12", "HEAD"), "changed": bool(version("git", "status", "--porcelain", "--", "*.rs", "*.py", "*.proto", "*.toml", "*.lock", "*.sh")),
        "load": os.getloadavg()[0], "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=pathlib.Path, required=True, help="folder of the programs")
    parser.add_argument("--dir", type=pathlib.Path, required=True, help="folder for stores and captures, some GB; emptied")
    parser.add_argument("--data", type=pathlib.Path, default=SERIES, help="other captures: a folder of *.packets.jsonl.zst")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs", help="where BENCHMARKS.md and benchmarks/ go")
    parser.add_argument("--quick", action="store_true", help="a tenth of the data: under five minutes")
    options = parser.parse_args()
    options.data = options.data.resolve()
    shutil.rmtree(options.dir, ignore_errors=True)
    bench = Bench(options)
    began = time.monotonic()
    quick = options.quick
    result = {"machine": machine(), "quick": quick, "data": "" if options.data == SERIES else options.data.name}

    say("wire")
    result["wire"] = bench.part("wire", "--data", options.data)
    say("host")
    result["host"] = [bench.host(zones, 5 if quick else 20) for zones in (10, 100, 1000)]
    say("instructions")
    result["instructions"] = bench.instructions()
    say("ingest, disk: one copy")
    root, result["one"] = bench.store("one", options.data)
    shutil.rmtree(root)
    copies = 10 if quick else 100
    say(f"disk: {copies} copies, no two alike")
    root, result["apart"] = bench.store("apart", options.data, copies=copies, apart=True)
    shutil.rmtree(root)
    say(f"ingest, disk: {copies} copies")
    root, result["many"] = bench.store("many", options.data, copies=copies)
    result["many"]["copies"] = copies
    say("questions")
    result["questions"] = bench.questions(root, 7 if quick else 21)
    shutil.rmtree(root)
    say("ZeroMQ")
    seconds = 3 if quick else 10
    result["flood"] = {
        "hear": [bench.flood(rate, rate * seconds, store=False) for rate in (50_000, 100_000)],
        "store": [bench.flood(rate, rate * seconds, store=True) for rate in ((20_000,) if quick else (20_000, 40_000))],
    }
    say("transport")
    result["transport"] = bench.transport(3 if quick else 7)
    say("scale: zones")
    result["scale_zones"] = []
    for zones in (10, 100, 1000) if quick else (10, 100, 1000, 10_000):
        root, point = bench.store("scale", bench.longest, copies=zones, packets=120)
        point |= {"zones": zones, "questions": bench.running(root, 5, (1,))}
        point["host"] = next((h for h in result["host"] if h["zones"] == zones), None) or bench.host(zones, 10)
        result["scale_zones"].append(point)
        shutil.rmtree(root)
    say("scale: time")
    result["scale_time"] = []
    # Packets of the capture, and how often it is played: an hour, then the whole of it up to a month.
    for packets, rounds in ((3600, 1), (29_803, 1), (29_803, 3), (29_803, 20), (29_803, 86))[: 4 if quick else 5]:
        root, point = bench.store("scale", bench.longest, packets=packets, rounds=rounds)
        point |= {"hours": point["frames"] / 3600, "questions": bench.running(root, 5, (1,))}
        result["scale_time"].append(point)
        shutil.rmtree(root)
    result["seconds"] = time.monotonic() - began
    plots = options.out / "benchmarks"
    plots.mkdir(parents=True, exist_ok=True)
    report.plots(result, plots)
    (options.dir / "result.json").write_text(json.dumps(result, indent=1))
    (options.out / "BENCHMARKS.md").write_text(report.markdown(result))
    say(f"{options.out / 'BENCHMARKS.md'}, after {result['seconds']:.0f} s")


if __name__ == "__main__":
    main()
