"""A `kstat -p` of a host with as many zones as one likes, made of a capture of one with one zone: that zone's kstats for each, the
host's once. Numbers stand still; what a tick costs does not depend on them."""

import subprocess

CAPTURED_ID = "6"
CAPTURED_NAME = "0ed8f106-4c81-459d-b3d9-f86752fa611b"
# Of these, the instance is the id of a zone or of its IP stack.
BY_INSTANCE = {"zones", "memory_cap", "zone_vfs", "zone_zfs", "tcp", "udp", "ip", "caps"}
# A task or project comes and goes; how many there are says nothing of how many zones there are.
LEFT_OUT = ("_task_", "_project_")


def write(capture, zones, path):
    """Writes the chain."""
    text = subprocess.run(["zstdcat", capture], capture_output=True, text=True, check=True).stdout
    lines = [line for line in text.splitlines() if "\t" in line]
    kstat = lambda line: tuple(line.split("\t", 1)[0].split(":", 3)[:3])
    named = {kstat(line) for line in lines if line.endswith(f":zonename\t{CAPTURED_NAME}")}
    of_zone, of_host = [], []
    for line in lines:
        module, instance, name = kstat(line)
        if any(part in name for part in LEFT_OUT):
            continue
        mine = (module, instance, name) in named or (module in BY_INSTANCE and instance == CAPTURED_ID)
        (of_zone if mine else of_host).append(line)
    with open(path, "w") as out:
        out.writelines(f"{line}\n" for line in of_host)
        for zone in range(zones):
            for line in of_zone:
                out.write(as_zone(line, zone) + "\n")


def as_zone(line, zone):
    """The captured zone's line as that of another, whose id is 1000 and more: no zone of the capture has such."""
    key, value = line.split("\t", 1)
    module, instance, name, statistic = key.split(":", 3)
    new_id = str(1000 + zone)
    if module in BY_INSTANCE:
        instance = new_id
    module = module.replace("z6_", f"z{new_id}_")
    name = name.replace("zone_6", f"zone_{new_id}").replace("z6_", f"z{new_id}_")
    if statistic == "zonename":
        value = f"{CAPTURED_NAME}-{zone:04}"
    return f"{module}:{instance}:{name}:{statistic}\t{value}"
