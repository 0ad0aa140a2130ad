"""Processes of zonescope under test, and a count of what they made of every frame. chaos.py and attack.py share it.

The witness. What the generator published is known from somebody who belongs to neither side: a subscriber of its own beside
the generator, written here (ZMTP by hand), which notes the highest number that it hears of each epoch and topic. Numbers have no
holes, so what it misses in between it need not hear. A number that nobody outside the process ever heard of, in no socket and on no
disk, has not been published.

The count. Every number, from the first to the last that the witness heard or the store has, of every topic and epoch, has to
be in the table `frames` once, or in the table `gaps`:
    lost        in neither
    duplicated  in `frames` more than once, or in both
    gaps        rows of `gaps`
The first epoch counts from where the collector joined it. What was published within a tick in which the generator was killed may
be known to the witness alone; a gap without end on the host's topic says so, and covers what lies behind the last host frame of
that epoch that is stored.
"""

import argparse
import csv
import ctypes
import io
import os
import signal
import socket
import struct
import subprocess
import threading
import time
from collections import Counter, defaultdict

UNKNOWN = 2**64 - 1
# ZMTP 3.0, mechanism NULL.
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)


def arguments():
    """What alone.sh hands on."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True)
    parser.add_argument("--seconds", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--zones", type=int, default=300)
    return parser.parse_args()


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.returncode}: {done.stderr.strip()}")
    return done.stdout


class Daemon:
    """A process that is started again and again. One that ends by itself is started again, as a service manager would, and is a failure:
    service managers give up what ends too often."""

    def __init__(self, name, command, logs):
        self.name, self.command = name, command
        self.log = open(os.path.join(logs, name + ".log"), "ab")
        self.lock = threading.Lock()
        self.failures = 0
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
        self.failures += 1

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


class Witness(threading.Thread):
    """A subscriber beside the generator: highest number of each (epoch, zone) that was heard."""

    def __init__(self, address, port, namespace=None):
        super().__init__(daemon=True)
        self.highest, self.heard = {}, 0
        self.address, self.namespace = (address, port), namespace

    def run(self):
        if self.namespace:
            with open(f"/run/netns/{self.namespace}") as namespace:
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
        while True:
            try:
                with socket.create_connection(self.address, timeout=5) as connection:
                    self.listen(connection.makefile("rb", 1 << 20), connection)
            except OSError:
                time.sleep(0.05)

    def listen(self, stream, connection):
        """ZMTP 3.0: greeting, READY, a subscription to everything; then messages of two parts."""
        connection.sendall(GREETING + ready(b"SUB"))
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


def ready(socket_type):
    """The command that ends a handshake."""
    body = b"\x05READY\x0bSocket-Type" + struct.pack(">I", len(socket_type)) + socket_type
    return b"\x04" + bytes([len(body)]) + body


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
    """A Redis, and what the collector has there: of each zone how far it is, how many frames it stored, how many are on record as
    missing."""

    def __init__(self, host_id, directory):
        self.host_id = host_id
        path = os.path.join(directory, "redis.sock")
        server = ["redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--dir", directory]
        subprocess.Popen(server, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.address = "unix://" + path
        self.command = ["redis-cli", "-s", path]

    def zone(self, zone):
        """Epoch, number, frames, missing."""
        key = f"zonescope:{{{self.host_id}/{zone}}}:zone"
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


def until(seconds, what, happens):
    deadline = time.monotonic() + seconds
    while not happens():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {seconds} s: {what}")
        time.sleep(0.5)
