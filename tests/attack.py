"""The attack run: started by attack.sh, in namespaces of its own.

A generator plays a recording of some hundred zones; both collectors and a witness subscribe from 127.0.0.1. Whatever listens is
found by asking the kernel, and everybody who has no business there comes from other addresses of 127.0.0.0/8: each function of
`Attackers` below is one way to do harm, and each has a thread for every port.

They run in a process of their own with the lowest priority: they stand for other machines, and share these cores with what they attack.

What must not come of it:
    ticks late   ticks that the generator left out, told by the numbers and times of its frames
    frames lost  numbers that are not in the store: neither missing without a trace nor on record as a gap
    memory       the most that the generator was resident with, against BOUND_MIB
Whoever is honest and comes meanwhile is let in. Every process is the one that was started, and the generator says of each port how many it turned away.
"""

import math
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
from collections import Counter

from processes import GREETING, Account, Daemon, Redis, Store, Witness, arguments, ready, run, say, take, until

ADDRESS, PORT = "127.0.0.1", 7211
HOST_ID = "attack"
CAPTURE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../generator/fixtures/kstat/omnios-2021.kstat-p.txt")
# Of the generator: docs/RELIABILITY.md, Attacked, says of what.
BOUND_MIB = 256
# After the attack, collectors have so long to catch up.
CATCH_UP_SECONDS = 60
IDLE = 5000
# Somebody honest, who joins meanwhile, waits no longer for the first frame.
PATIENCE_SECONDS = 5
# The generator says once a minute what it turned away.
SAYS_SECONDS = 65
GIB = 1 << 30
# A thread that sends as much as is taken sends no more than this, bytes a second.
PACE = 50 << 20


class Attackers:
    """Everybody who has no business here. `business` is what they know of it: host id, epoch, zones."""

    KINDS = ("noise", "half_a_greeting", "slow", "idle", "endless", "claims", "giant", "subscriptions", "deaf", "crowd", "commands",
             "requests", "silent_requests")

    def __init__(self, ports, seed, business):
        self.ports, self.seed, self.business = ports, seed, business
        self.over, self.lock = threading.Event(), threading.Lock()
        self.peers, self.bytes = Counter(), 0

    def run(self, over, answer):
        os.nice(19)
        for port in self.ports:
            for kind in self.KINDS:
                threading.Thread(target=self.keep, args=(kind, port), name=kind, daemon=True).start()
        over.wait()
        self.over.set()
        answer.send((self.peers, self.bytes))

    def keep(self, kind, port):
        choices = random.Random(f"{self.seed} {kind} {port}")
        while not self.over.is_set():
            try:
                getattr(self, kind)(choices, port)
            except OSError:
                pass  # Thrown out, as it should be: comes again.
            self.over.wait(0.05)

    @staticmethod
    def address(choices):
        return f"127.{choices.randint(1, 9)}.{choices.randint(0, 255)}.{choices.randint(1, 254)}"

    def connect(self, choices, port, address=None):
        peer = socket.socket()
        peer.settimeout(5)
        peer.bind((address or self.address(choices), 0))
        peer.connect((ADDRESS, port))
        with self.lock:
            self.peers[threading.current_thread().name] += 1
        return peer

    def join(self, choices, port, address=None):
        """One that is through with the handshake."""
        peer = self.connect(choices, port, address)
        self.send(peer, GREETING + ready(b"SUB" if port == PORT else b"DEALER"))
        took = 0
        while took < 64:
            took += self.receive(peer, 64 - took)
        self.receive(peer, 4096)
        return peer

    def send(self, peer, data):
        peer.sendall(data)
        with self.lock:
            self.bytes += len(data)

    @staticmethod
    def receive(peer, count):
        data = peer.recv(count)
        if not data:
            raise ConnectionError("thrown out")
        return len(data)

    def pour(self, peer, total, chunk):
        """Sends so much, for as long as it is taken."""
        sent = 0
        while sent < total and not self.over.is_set():
            self.send(peer, chunk)
            sent += len(chunk)
            self.over.wait(len(chunk) / PACE)

    def hold(self, *peers):
        """Keeps them until they are thrown out or all is over."""
        for peer in peers:
            peer.settimeout(0.5)
        while not self.over.is_set():
            try:
                self.receive(peers[0], 4096)
            except TimeoutError:
                pass

    # The ways to do harm.

    def noise(self, choices, port):
        """Random bytes; sometimes behind a greeting, sometimes behind a handshake."""
        peer = choices.choice([self.connect, self.join])(choices, port)
        if choices.random() < 0.3:
            self.send(peer, GREETING)
        self.send(peer, choices.randbytes(choices.randint(1, 1 << 16)))

    def half_a_greeting(self, choices, port):
        peer = self.connect(choices, port)
        self.send(peer, GREETING[: choices.randint(1, 63)])
        if choices.random() < 0.5:
            self.hold(peer)

    def slow(self, choices, port):
        """A byte of the greeting a second."""
        peers = [self.connect(choices, port) for _ in range(20)]
        for at in range(64):
            for peer in peers:
                self.send(peer, GREETING[at : at + 1])
            self.over.wait(1)

    def idle(self, choices, port):
        """Thousands who say nothing."""
        peers = []
        while len(peers) < IDLE and not self.over.is_set():
            peers.append(self.connect(choices, port))
        self.over.wait(10)

    def endless(self, choices, port):
        """A frame that claims a terabyte and goes on and on."""
        peer = self.join(choices, port)
        self.send(peer, b"\x02" + struct.pack(">Q", 1 << 40))
        self.pour(peer, 1 << 40, bytes(1 << 16))

    def claims(self, choices, port):
        """A frame that claims to be longer than any memory, as a message or a command, before and after the handshake."""
        length = struct.pack(">Q", choices.choice([1 << 63, (1 << 63) - 1, (1 << 64) - 1, 1 << 48, 1 << 36, 1 << 32]))
        if choices.random() < 0.5:
            peer = self.connect(choices, port)
            self.send(peer, GREETING)
        else:
            peer = self.join(choices, port)
        self.send(peer, choices.choice([b"\x02", b"\x03", b"\x06"]) + length + b"\x01")
        self.hold(peer)

    def giant(self, choices, port):
        """A subscription of 1 GiB, really sent."""
        peer = self.join(choices, port)
        self.send(peer, b"\x02" + struct.pack(">Q", GIB) + b"\x01")
        self.pour(peer, GIB - 1, bytes(1 << 16))
        self.hold(peer)

    def subscriptions(self, choices, port):
        """A million of them."""
        peer = self.join(choices, port)
        for thousand in range(1000):
            self.send(peer, b"".join(b"\x00\x09\x01" + b"%08d" % (thousand * 1000 + n) for n in range(1000)))
        self.hold(peer)

    def deaf(self, choices, port):
        """Subscribers to everything who never read."""
        peers = [self.join(choices, port) for _ in range(50)]
        for peer in peers:
            self.send(peer, b"\x00\x01\x01")
        self.over.wait(10)

    def crowd(self, choices, port):
        """Somebody with a hundred connections, each through with the handshake, from one address."""
        address = self.address(choices)
        peers = []
        try:
            while len(peers) < 100:
                peers.append(self.join(choices, port, address))
        finally:
            self.over.wait(5)

    def commands(self, choices, port):
        """Commands that nobody asked for, by the thousand: PING, READY, ERROR, and some that are none."""
        peer = self.join(choices, port)
        command = choices.choice([b"\x04PING\x00\x0aping", b"\x05READY", b"\x05ERROR\x03why", b"\x09SUBSCRIBE\x00", b"\xffX"])
        self.pour(peer, 1 << 20, (b"\x04" + bytes([len(command)]) + command) * 500)
        self.hold(peer)

    def requests(self, choices, port):
        """At the recovery port: everything, again and again."""
        peer = self.join(choices, port)
        peer.settimeout(0.01)
        while not self.over.is_set():
            self.send(peer, message(self.everything(choices)) * 20)
            try:
                while True:
                    self.receive(peer, 1 << 20)
            except TimeoutError:
                pass

    def silent_requests(self, choices, port):
        """The same from somebody who never reads the answers."""
        peer = self.join(choices, port)
        while not self.over.is_set():
            self.send(peer, message(self.everything(choices)) * 20)

    def everything(self, choices):
        """A RecoveryRequest (recovery.proto) for all that there ever was, mostly of the epoch that is."""
        host_id, epoch, zones = self.business
        epoch = choices.choice([epoch, epoch, epoch, 1, epoch - 1])
        ranges = b"".join(
            field(5, field(1, zone.encode()) + b"\x10\x01\x18" + b"\xff" * 9 + b"\x01")
            for zone in choices.sample(zones, min(len(zones), 1024))
        )
        return b"\x08\x01\x11" + choices.randbytes(8) + field(3, host_id.encode()) + b"\x21" + struct.pack("<Q", epoch) + ranges


def field(number, value):
    """A length-delimited field of protobuf."""
    length, size = b"", len(value)
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + value


def message(body):
    """A message of one part."""
    return b"\x02" + struct.pack(">Q", len(body)) + body


def listening():
    """Ports that somebody in this namespace listens on."""
    ports = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table) as file:
            for line in list(file)[1:]:
                columns = line.split()
                if columns[3] == "0A":
                    ports.add(int(columns[1].rsplit(":", 1)[1], 16))
    return sorted(ports)


def most_mib(pid):
    """The most memory that a process was resident with."""
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM"))


def main():
    options = arguments()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    run("ip", "link", "set", "lo", "up")
    work = tempfile.mkdtemp(prefix=f"zonescope-attack-{options.seed}-")
    if attack(options, work):
        shutil.rmtree(work)
        return 0
    say(f"the logs stay in {work}")
    return 1


def attack(options, work):
    program = lambda name: os.path.join(options.bin, "zonescope-" + name)
    endpoint = f"tcp://{ADDRESS}:{PORT}"
    config, root = os.path.join(work, "generator.toml"), os.path.join(work, "store")
    with open(config, "w") as file:
        file.write(f'bind = "{endpoint}"\nhost_id = "{HOST_ID}"\n[dtrace]\nenabled = false\n[ring]\nspool = "{work}/spool"\n')
    started_at = time.monotonic()
    publish = [program("generator"), "run", "--config", config, "--source", "recorded:" + CAPTURE, "--loop", "--zones", str(options.zones)]
    generator = Daemon("generator", publish, work)
    daemons = [generator, Daemon("columnar", [program("collector-columnar"), "run", "--connect", endpoint, "--root", root], work)]
    redis = None
    if shutil.which("redis-server") and os.path.exists(program("collector-redis")):
        redis = Redis(HOST_ID, work)
        daemons.append(Daemon("redis", [program("collector-redis"), "run", "--connect", endpoint, "--redis", redis.address], work))
    else:
        say("SKIPPED: attack: collector-redis: no redis-server or no collector-redis here")
    started = [daemon.process.pid for daemon in daemons]
    witness = Witness(ADDRESS, PORT)
    witness.start()
    store = Store(program("collector-columnar"), root)
    until(60, "the first frames are stored", lambda: os.path.exists(root) and store.count() > options.zones)

    ports = listening()
    before = most_mib(generator.process.pid)
    say(f"attack for {options.seconds} s, seed {options.seed}, {options.zones} zones, on the ports {', '.join(map(str, ports))}")
    business = (HOST_ID, max(epoch for epoch, _ in witness.highest), sorted({zone for _, zone in witness.highest}))
    over, (ours, theirs) = multiprocessing.Event(), multiprocessing.Pipe()
    attackers = multiprocessing.Process(target=Attackers(ports, options.seed, business).run, args=(over, theirs), daemon=True)
    attackers.start()
    end = time.monotonic() + options.seconds
    joined = []
    while time.monotonic() < end:
        joined.append(join())
        time.sleep(2)
    over.set()
    peers, sent = ours.recv() if ours.poll(30) else (Counter(), 0)
    attackers.terminate()

    witnessed = dict(witness.highest)
    say(f"all is quiet; the witness heard {witness.heard} frames")
    deadline = time.monotonic() + CATCH_UP_SECONDS
    while (Account(store, witnessed).lost or (redis and redis.behind(witnessed))) and time.monotonic() < deadline:
        time.sleep(2)
    behind = redis.behind(witnessed) if redis else []
    account, late = Account(store, witnessed), left_out(store)
    time.sleep(max(0, started_at + SAYS_SECONDS - time.monotonic()))
    memory = {daemon.name: most_mib(daemon.process.pid) for daemon in daemons}
    same = started == [daemon.process.pid for daemon in daemons]
    for daemon in reversed(daemons):
        daemon.end(signal.SIGTERM)
    failures = sum(daemon.failures for daemon in daemons)

    print("  peers: " + ", ".join(f"{count} {kind}" for kind, count in peers.most_common()))
    for loss in account.losses[:20]:
        print(f"  lost: {loss}")
    for reason, count in sorted(account.by_reason.items()):
        print(f"  {count:5} frames are on record as missing: {reason}")
    print(f"  memory, MiB: generator {before} before the attack; at most " + ", ".join(f"{name} {mib}" for name, mib in memory.items()))
    if redis:
        stored, missing = redis.total(witnessed)
        print(f"  redis: {stored} frames stored, {missing} on record as missing; {len(behind)} zones behind")
    print(f"  {len(joined)} honest subscribers joined meanwhile; the slowest had the first frame after {max(joined):.1f} s")
    turned_away = said(os.path.join(work, "generator.log"))
    for line in turned_away.values():
        print(f"  {line}")
    if failures or not same:
        print("  a process ended, and should not have")
    lost = account.lost + sum(account.by_reason.values())
    print(f"peers {peers.total()} bytes {sent} seconds {options.seconds} ticks late {late} frames lost {lost} "
          f"memory {memory['generator']} MiB (bound {BOUND_MIB})", flush=True)
    unseen = [port for port in ports if port not in turned_away]
    if unseen:
        print(f"  nothing was turned away at {unseen}, or nobody counted it")
    shut_out = max(joined) > PATIENCE_SECONDS
    harmed = shut_out or late or lost or behind or failures or not same or unseen or memory["generator"] > BOUND_MIB
    return peers.total() > 0 and account.frames > 0 and not harmed


def said(log):
    """The last that the generator said of each port: how many it turned away, and why."""
    with open(log, errors="replace") as file:
        matches = re.finditer(r"turned away since the start: .*tcp://\S*:(\d+).*", file.read())
    return {int(match[1]): match[0] for match in matches}


def join():
    """Seconds until somebody honest, who comes while all this goes on, has the first frame; more than any patience, if none comes."""
    began = time.monotonic()
    try:
        with socket.create_connection((ADDRESS, PORT), timeout=PATIENCE_SECONDS) as peer:
            peer.sendall(GREETING + ready(b"SUB") + b"\x00\x01\x01")
            stream = peer.makefile("rb")
            take(stream, 64)
            # READY, then the topic of a frame.
            for _ in range(2):
                flags, size = take(stream, 2)
                take(stream, size)
    except OSError as error:
        say(f"somebody honest could not join: {error}")
        return math.inf
    return time.monotonic() - began


def left_out(store):
    """Ticks without frames: numbers go up by one a tick, and times by the interval."""
    (ticks,) = store.rows(
        "select max(times - numbers) from (select cast(round(date_part('epoch', max(time)) - date_part('epoch', min(time))) as bigint) as times,"
        " cast(max(sequence) - min(sequence) as bigint) as numbers from frames group by epoch, zone)"
    )
    return int(ticks[0])


if __name__ == "__main__":
    sys.exit(main())
