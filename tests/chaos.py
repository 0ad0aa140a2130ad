"""The chaos run: started by chaos.sh, in namespaces of its own.

Frames travel from a generator in the network namespace `host` over a bad link to collectors here. Each process has a tormentor, a
thread that kills, stops or restarts it again and again; others torment the link and the disks. All choices come from the
seed; what they meet does not, so that a seed repeats the torment and not the run.

In the end all is well again for a while; then every number is counted: processes.py says how. Chaos begins after the collector has
joined.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter

from processes import Account, Daemon, Redis, Store, Witness, arguments, run, say, until

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


def main():
    options = arguments()
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
    witness = Witness(HOST_ADDRESS, PORT, HOST_NS)
    witness.start()
    collect = [program("collector-columnar"), "run", "--connect", endpoint, "--root", root + "/store", "--flush-interval", "5s"]
    columnar = Daemon("columnar", collect, work)
    daemons = [columnar]
    redis = None
    if shutil.which("redis-server") and os.path.exists(program("collector-redis")):
        redis = Redis(HOST_ID, work)
        daemons.append(Daemon("redis", [program("collector-redis"), "run", "--connect", endpoint, "--redis", redis.address, "--keep", "1m"], work))
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
    print(f"processes were hit {hits} times, and failed {failures} times")
    enough = hits >= options.seconds * LEAST_HITS
    if not enough:
        print(f"that is less than {options.seconds * LEAST_HITS:.0f} times: too little to tell")
    print(f"frames {account.frames} lost {account.lost} duplicated {account.duplicated} gaps {account.gaps}", flush=True)
    return enough and not (failures or account.lost or account.duplicated)


if __name__ == "__main__":
    sys.exit(main())
