/*
 * proc.d - processes and threads made, programs executed, processes ended, by process
 *
 *     dtrace -qs proc.d
 *
 * Probes: proc:::create, exec-success, exec-failure, exit, lwp-create, signal-send.
 * Cost:   one probe an event, below 2 us: nothing beside the fork(2) or execve(2) that it counts.
 * Keys:   six a process that does so: a host that builds software makes some 1,000 a second.
 * Source: DTrace for Linux 2.0, proc provider.
 *
 * Charged to the process that acts. One that has ended when the generator looks for its cgroup counts for `global`.
 */
#pragma D option strsize=64

proc:::create,
proc:::exec-success,
proc:::exec-failure,
proc:::exit,
proc:::lwp-create,
proc:::signal-send
{
	@events[probename, pid] = count();
}

/* Each second, as dtrace itself reads its buffers with bpf(2): on Linux a tick probe does not fire while its CPU idles. */
syscall::bpf:entry,
dtrace:::END
/probename == "END" || (pid == $pid && timestamp >= due)/
{
	printa("\036zonescope\037event\037proc_%s\037%@d\037\037#%d\037\037.\n", @events);
	trunc(@events);
	printf("\036zonescope\037end\037.\n");
	due = timestamp + 950000000;
}
