"""The chaos run: started by chaos.sh, in namespaces of its own.

Frames travel from a generator in the network namespace `host` over a bad link to collectors here. Each process has a tormentor, a
thread that kills, stops or restarts it again and again; others torment the link and the disks. All choices come from the
seed; what they meet does not, so that a seed repeats the torment and not the run.

The witness. What the generator published is known from somebody who belongs to neither side: a subscriber of its own beside
the generator, written here (ZMTP by hand), which notes the highest number that it hears of each epoch and topic. Numbers have no
holes, so what it misses in between it need not hear. A number that nobody outside the process ever heard of, in no socket and on no
disk, has not been published.

The count. In the end all is well again for a while; then every number, from the first to the last that the witness heard or the store
has, of every topic and epoch, has to be in the table `frames` once, or in the table `gaps`:
    lost        in neither
    duplicated  in `frames` more than once, or in both
    gaps        rows of `gaps`; the frames in them are counted by reason above the last line
The first epoch counts from where the collector joined it; chaos begins after that. What was published within a tick in which the
generator was killed may be known to the witness alone; a gap without end on the host's topic says so, and covers
what lies behind the last host frame of that epoch that is stored.
"""

import argparse
import csv
import ctypes
import io
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict

HOST_NS, HOST_ADDRESS, OUR_ADDRESS = "host", "10.77.0.1", "10.77.0.2"
PORT = 7211
HOST_ID = "chaos"
INTERVAL_MS = 100
CAPTURE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../generator/fixtures/kstat/omnios-2021.kstat-p.txt")
DISKS = {"root": "2g", "spool": "768m"}
SPOOL_BYTES = 512 << 20
# Of all processes together in a second of chaos, at least.
LEAST_HITS = 1 / 3
# When all is well again, collectors have so long to catch up.
CATCH_UP_SECONDS = 180
UNKNOWN = 2**64 - 1


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.returncode}: {done.stderr.strip()}")
    return done.stdout


class Daemon:
    """A process that is started again and again. One that ends by itself is started again, as a service manager would; it may say
    that it cannot run now (code 1: the disk is full), anything else is a failure."""

    def __init__(self, name, command, logs):
        self.name, self.command = name, command
        self.log = open(os.path.join(logs, name + ".log"), "ab")
        self.lock = threading.Lock()
        self.gave_up = self.failures = 0
        self.start()
        threading.Thread(target=self.keep, daemon=True).start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.wanted = True

    def keep(self):
        while True:
            time.sleep(1)
            with self.lock:
                if self.wanted and self.process.poll() is not None:
                    self.ended(self.process.returncode)
                    self.start()

    def ended(self, code):
        say(f"{self.name} ended by itself, with {code}")
        self.gave_up += code == 1
        self.failures += code != 1

    def signal(self, number):
        with self.lock:
            self.process.send_signal(number)

    def end(self, number):
        with self.lock:
            if self.process.poll() is not None:
                self.ended(self.process.returncode)
            self.wanted = False
            self.process.send_signal(number)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.failures += 1
                say(f"{self.name} did not leave within a minute")
                self.process.kill()
                self.process.wait()


class Torment:
    """Threads that make trouble until they are told to end. All is well again when they have ended."""

    def __init__(self, seed):
        self.seed, self.over = seed, threading.Event()
        self.hits, self.lock, self.threads, self.broken = Counter(), threading.Lock(), [], None

    def begin(self, name, mean_pause, act):
        """Has a thread call `act(random, pause)` again and again, after pauses of `mean_pause` seconds on average."""
        choices = random.Random(f"{self.seed} {name}")
        self.threads.append(threading.Thread(target=self.loop, args=(choices, mean_pause, act)))

    def loop(self, choices, mean_pause, act):
        try:
            while not self.over.wait(min(choices.expovariate(1 / mean_pause), 4 * mean_pause)):
                hit = act(choices, self.over.wait)
                with self.lock:
                    self.hits[hit] += 1
        except Exception as error:  # It ends the run: see last().
            self.broken = error
            self.over.set()

    def last(self, seconds):
        for thread in self.threads:
            thread.start()
        self.over.wait(seconds)
        self.over.set()
        for thread in self.threads:
            thread.join()
        if self.broken:
            raise self.broken


def torment_process(daemon):
    def act(choices, pause):
        kind = choices.choice(["SIGKILL", "SIGSTOP", "restart"])
        if kind == "SIGSTOP":
            daemon.signal(signal.SIGSTOP)
            pause(choices.uniform(0.1, 5))
            daemon.signal(signal.SIGCONT)
        else:
            daemon.end(signal.SIGKILL if kind == "SIGKILL" else signal.SIGTERM)
            pause(choices.choice([0, choices.uniform(0, 3)]))
            daemon.start()
        return f"{daemon.name} {kind}"

    return act


class Link:
    """The network between us and the generator: a pair of devices, each of which can lose, delay, or be down."""

    def __init__(self):
        run("ip", "netns", "add", HOST_NS)
        run("ip", "link", "add", "c0", "type", "veth", "peer", "name", "g0", "netns", HOST_NS)
        for prefix, device, address in [((), "c0", OUR_ADDRESS), (("ip", "netns", "exec", HOST_NS), "g0", HOST_ADDRESS)]:
            run(*prefix, "ip", "address", "add", address + "/24", "dev", device)
            run(*prefix, "ip", "link", "set", device, "up")
            run(*prefix, "ip", "link", "set", "lo", "up")
        self.netem = subprocess.run(["tc", "qdisc", "add", "dev", "c0", "root", "netem", "loss", "0%"], capture_output=True).returncode == 0
        self.nft = not self.netem and shutil.which("nft") is not None
        if not self.netem:
            say("SKIPPED: chaos: delay: this kernel has no netem; packets are lost " + ("by nft instead" if self.nft else "by cuts alone"))

    def impair(self, loss_percent, delay_ms):
        inside = ("ip", "netns", "exec", HOST_NS)
        if self.netem:
            for prefix, device in [((), "c0"), (inside, "g0")]:
                run(*prefix, "tc", "qdisc", "replace", "dev", device, "root", "netem", "loss", f"{loss_percent}%",
                    "delay", f"{delay_ms}ms", f"{delay_ms // 4}ms")
        elif self.nft:
            rules = "table inet chaos {{\nchain input {{\ntype filter hook input priority 0\niifname != lo numgen random mod 1000 < {} drop\n}}\n}}"
            for prefix in [(), inside]:
                subprocess.run([*prefix, "nft", "delete", "table", "inet", "chaos"], capture_output=True)
                if loss_percent:
                    run(*prefix, "nft", rules.format(int(loss_percent * 10)))

    def torment(self, choices, pause):
        if choices.random() < 0.3:
            run("ip", "link", "set", "c0", "down")
            pause(choices.uniform(0.5, 20))
            run("ip", "link", "set", "c0", "up")
            return "link cut"
        self.impair(choices.choice([0.1, 1, 5, 20]), choices.choice([0, 5, 50, 200]))
        pause(choices.uniform(1, 15))
        self.impair(0, 0)
        return "link loss"


def torment_disk(path):
    def act(choices, pause):
        stuffing = os.path.join(path, "stuffing")
        free = os.statvfs(path)
        with open(stuffing, "wb") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize)
            except OSError:
                pass  # Somebody else was faster: it is full.
        pause(choices.uniform(0.5, 6))
        os.unlink(stuffing)
        return f"{os.path.basename(path)} full"

    return act


class Witness(threading.Thread):
    """A subscriber beside the generator: highest number of each (epoch, zone) that was heard."""

    def __init__(self):
        super().__init__(daemon=True)
        self.highest, self.heard = {}, 0

    def run(self):
        with open(f"/run/netns/{HOST_NS}") as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        while True:
            try:
                with socket.create_connection((HOST_ADDRESS, PORT), timeout=5) as connection:
                    self.listen(connection.makefile("rb", 1 << 20), connection)
            except OSError:
                time.sleep(0.05)

    def listen(self, stream, connection):
        """ZMTP 3.0: greeting, READY, a subscription to everything; then messages of two parts."""
        connection.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32))
        ready = b"\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB"
        connection.sendall(b"\x04" + bytes([len(ready)]) + ready)
        take(stream, 64)
        connection.sendall(b"\x00\x01\x01")
        topic = None
        while True:
            flags = take(stream, 1)[0]
            body = take(stream, struct.unpack(">Q", take(stream, 8))[0] if flags & 2 else take(stream, 1)[0])
            if flags & 4:
                continue
            if flags & 1:
                topic = body
                continue
            zone = topic.decode().rsplit("/", 1)[0]
            epoch, sequence = numbers(body)
            self.heard += 1
            key = (epoch, zone)
            self.highest[key] = max(self.highest.get(key, 0), sequence)


def take(stream, count):
    data = stream.read(count)
    if len(data) < count:
        raise ConnectionError("the generator is gone")
    return data


def numbers(frame):
    """Epoch and sequence of an encoded frame: fields 5 and 6 of its field 1 (frame.proto)."""
    header = next(value for field, value in fields(frame) if field == 1)
    found = {field: value for field, value in fields(header) if field in (5, 6)}
    return struct.unpack("<Q", found[5])[0], found[6]


def fields(message):
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
            continue
        size = {1: 8, 2: None, 5: 4}[key & 7]
        size = varint() if size is None else size
        yield key >> 3, message[at : at + size]
        at += size


class Store:
    """What the columnar collector has."""

    def __init__(self, program, root):
        self.command = [program, "query", "--root", root, "--format", "csv"]

    def rows(self, sql):
        return list(csv.reader(io.StringIO(run(*self.command, sql))))[1:]

    def count(self):
        return int(self.rows("select count(*) from frames")[0][0])

    def frames(self):
        """Numbers of each (epoch, zone), and how many were there more than once."""
        stored, twice = defaultdict(set), 0
        for epoch, zone, sequence, count in self.rows("select epoch, zone, sequence, count(*) from frames group by 1, 2, 3"):
            stored[int(epoch), zone].add(int(sequence))
            twice += int(count) - 1
        return stored, twice

    def gaps(self):
        rows = self.rows('select epoch, zone, "first", "last", reason from gaps')
        return [(int(e), zone, int(first), int(last or UNKNOWN), reason) for e, zone, first, last, reason in rows]


class Account:
    """Every number, once. `witnessed`: the highest that were heard by a certain time."""

    def __init__(self, store, witnessed):
        stored, self.duplicated = store.frames()
        gaps = store.gaps()
        self.gaps, self.by_reason = len(gaps), Counter()
        missing, died = defaultdict(set), set()
        for epoch, zone, first, last, reason in gaps:
            if last == UNKNOWN:
                died.add(epoch)
                continue
            numbers = set(range(first, last + 1))
            self.duplicated += len(numbers & stored[epoch, zone])
            missing[epoch, zone] |= numbers
            self.by_reason[reason] += len(numbers)
        joined = min((epoch for epoch, _ in stored), default=0)
        self.frames, self.lost, self.in_doubt, self.losses = 0, 0, 0, []
        for key in sorted(set(stored) | set(missing) | set(witnessed)):
            epoch, zone = key
            there = stored[key] | missing[key]
            first = min(there, default=1) if epoch == joined else 1
            last = max(max(there, default=0), witnessed.get(key, 0))
            lost = set(range(first, last + 1)) - there
            self.frames += last + 1 - first
            # Behind all that is stored of an epoch whose generator died: a gap without end speaks of it.
            tail = {n for n in lost if n > max(there, default=0)} if epoch in died else set()
            self.in_doubt += len(tail)
            self.lost += len(lost - tail)
            if lost - tail:
                self.losses.append(f"{epoch} {zone!r}: {sorted(lost - tail)[:8]} of {first}..{last}")


class Redis:
    """What the Redis collector has: of each zone how far it is, how many frames it stored, how many are on record as missing."""

    def __init__(self, socket_path):
        self.command = ["redis-cli", "-s", socket_path]

    def zone(self, zone):
        """Epoch, number, frames, missing."""
        key = f"zonescope:{{{HOST_ID}/{zone}}}:zone"
        answer = run(*self.command, "hmget", key, "epoch", "sequence", "frames", "missing")
        return [int(value or 0) for value in answer.split("\n")[:4]]

    def behind(self, witnessed):
        """Zones that are not where the witness is."""
        epoch = max(epoch for epoch, _ in witnessed)
        zones = {zone: number for (e, zone), number in witnessed.items() if e == epoch and zone}
        return [zone for zone, number in zones.items() if tuple(self.zone(zone)[:2]) < (epoch, number)]

    def total(self, witnessed):
        """Frames stored, and on record as missing."""
        zones = [self.zone(zone) for zone in {zone for _, zone in witnessed if zone}]
        return sum(z[2] for z in zones), sum(z[3] for z in zones)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--zones", type=int, default=300)
    options = parser.parse_args()
    work = tempfile.mkdtemp(prefix=f"zonescope-chaos-{options.seed}-")
    for name, size in DISKS.items():
        os.mkdir(os.path.join(work, name))
        run("mount", "-t", "tmpfs", "-o", f"size={size}", "none", os.path.join(work, name))
    run("mount", "-t", "tmpfs", "none", "/run")
    if chaos(options, work):
        # What is mounted goes with our namespace.
        for name in DISKS:
            run("umount", "-l", os.path.join(work, name))
        shutil.rmtree(work)
        return 0
    say(f"the logs stay in {work}")
    return 1


def chaos(options, work):
    root, spool = (os.path.join(work, name) for name in DISKS)
    program = lambda name: os.path.join(options.bin, "zonescope-" + name)
    endpoint = f"tcp://{HOST_ADDRESS}:{PORT}"
    config = os.path.join(work, "generator.toml")
    with open(config, "w") as file:
        file.write(f'bind = "{endpoint}"\ninterval_ms = {INTERVAL_MS}\nhost_id = "{HOST_ID}"\n[dtrace]\nenabled = false\n'
                   f'[ring]\nspool = "{spool}/frames"\nspool_bytes = {SPOOL_BYTES}\n')
    link = Link()
    witness = Witness()
    witness.start()
    collect = [program("collector-columnar"), "run", "--connect", endpoint, "--root", root + "/store", "--flush-interval", "5s"]
    columnar = Daemon("columnar", collect, work)
    daemons = [columnar]
    redis, redis_socket = None, os.path.join(work, "redis.sock")
    if shutil.which("redis-server") and os.path.exists(program("collector-redis")):
        server = ["redis-server", "--port", "0", "--unixsocket", redis_socket, "--save", "", "--dir", work]
        subprocess.Popen(server, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        redis = Redis(redis_socket)
        daemons.append(Daemon("redis", [program("collector-redis"), "run", "--connect", endpoint, "--redis", "unix://" + redis_socket, "--keep", "1m"], work))
    else:
        say("SKIPPED: chaos: collector-redis: no redis-server or no collector-redis here")
    publish = [program("generator"), "run", "--config", config, "--source", "recorded:" + CAPTURE, "--loop", "--zones", str(options.zones)]
    generator = Daemon("generator", ["ip", "netns", "exec", HOST_NS, *publish], work)
    daemons.append(generator)

    store = Store(program("collector-columnar"), root + "/store")
    until(60, "the first frames are stored", lambda: os.path.exists(root + "/store") and store.count() > 0)
    say(f"chaos for {options.seconds} s, seed {options.seed}, {options.zones} zones every {INTERVAL_MS} ms")
    torment = Torment(options.seed)
    for daemon in daemons:
        torment.begin(daemon.name, 4, torment_process(daemon))
    torment.begin("link", 8, link.torment)
    for disk in (root, spool):
        torment.begin(os.path.basename(disk), 20, torment_disk(disk))
    torment.last(options.seconds)

    witnessed = dict(witness.highest)
    say(f"all is well again; the witness heard {witness.heard} frames of {len({e for e, _ in witnessed})} epochs")
    deadline = time.monotonic() + CATCH_UP_SECONDS
    while (Account(store, witnessed).lost or (redis and redis.behind(witnessed))) and time.monotonic() < deadline:
        time.sleep(5)
    behind = redis.behind(witnessed) if redis else []
    for daemon in reversed(daemons):
        daemon.end(signal.SIGTERM)
    if redis:
        print("redis: {} frames stored, {} on record as missing; {} zones behind".format(*redis.total(witnessed), len(behind)))
    return report(torment, daemons, Account(store, witnessed), options) and not behind


def until(seconds, what, happens):
    deadline = time.monotonic() + seconds
    while not happens():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {seconds} s: {what}")
        time.sleep(0.5)


def report(torment, daemons, account, options):
    for hit, count in sorted(torment.hits.items()):
        print(f"  {count:5} {hit}")
    names = {daemon.name for daemon in daemons}
    hits = sum(count for hit, count in torment.hits.items() if hit.split()[0] in names)
    failures = sum(daemon.failures for daemon in daemons)
    for loss in account.losses[:20]:
        print(f"  lost: {loss}")
    for reason, count in sorted(account.by_reason.items()):
        print(f"  {count:5} frames are on record as missing: {reason}")
    print(f"  {account.in_doubt:5} frames were published as the generator was killed, and gaps without end speak of them")
    gave_up = sum(daemon.gave_up for daemon in daemons)
    print(f"processes were hit {hits} times, could not run {gave_up} times and were started again, failed {failures} times")
    enough = hits >= options.seconds * LEAST_HITS
    if not enough:
        print(f"that is less than {options.seconds * LEAST_HITS:.0f} times: too little to tell")
    print(f"frames {account.frames} lost {account.lost} duplicated {account.duplicated} gaps {account.gaps}", flush=True)
    return enough and not (failures or account.lost or account.duplicated)


if __name__ == "__main__":
    sys.exit(main())
