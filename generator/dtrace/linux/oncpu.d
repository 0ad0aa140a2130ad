/*
 * oncpu.d - who is on the CPUs, by core, process and thread
 *
 *     dtrace -qs oncpu.d 97
 *
 * Probes: profile-$1, on every CPU $1 times a second (97 by default, 997 at most).
 * Cost:   about 3 us a sample: 0.03 % of each CPU at 97 Hz, 0.3 % at 997 Hz, whatever the load is.
 * Keys:   a thread on a core each second: $1 x CPUs at the very most, in practice the threads that run.
 * Source: DTrace for Linux 2.0 (github.com/oracle/dtrace), profile provider.
 *
 * DTrace on Linux knows no zones: `#` and the pid stand in for it, and the generator finds the cgroup. Pid 0 is the idle
 * task. The name comes from the thread (comm), which threads may choose for themselves.
 */
#pragma D option strsize=64
#pragma D option aggsize=4m

profile:::profile-$1
/pid/
{
	@samples[pid, cpu, pid, tid, execname] = count();
}

dtrace:::BEGIN
{
	since = timestamp;
}

/* Each second, as dtrace itself reads its buffers with bpf(2): on Linux a tick probe does not fire while its CPU idles. */
syscall::bpf:entry,
dtrace:::END
/probename == "END" || (pid == $pid && timestamp >= due)/
{
	/* What one CPU could have counted: the samples of a core that never idles. */
	@ticks = sum((timestamp - since) * $1 / 1000000000);
	since = timestamp;
	printa("\036zonescope\037oncpu\037%@d\037#%d\037%d\037%d\037%d\037%s\037.\n", @samples);
	printa("\036zonescope\037ticks\037%@d\037.\n", @ticks);
	trunc(@samples);
	trunc(@ticks);
	printf("\036zonescope\037end\037.\n");
	due = timestamp + 950000000;
}
