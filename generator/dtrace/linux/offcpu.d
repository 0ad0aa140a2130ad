/*
 * offcpu.d - how long threads are off the CPU, by process
 *
 *     dtrace -qs offcpu.d
 *
 * Probes: sched:::off-cpu.
 * Cost:   one probe a context switch, about 2 us: 2 % of a CPU at 10,000 switches a second. OFF BY DEFAULT for that
 *         reason.
 * Keys:   a distribution a process that was switched to: some 100.
 * Source: DTrace for Linux 2.0, sched provider. off-cpu fires in the thread that leaves; args[0] and args[1] are the one
 *         that comes. sched:::on-cpu is there, but does not fire on kernels without its function.
 *
 * Counted when the thread comes back, so that a sleep of an hour shows in its last second. A thread that was off the CPU
 * as tracing began has no start and is not counted.
 */
#pragma D option dynvarsize=4m

sched:::off-cpu
/tid/
{
	since[tid] = timestamp;
}

sched:::off-cpu
/args[0]->pr_lwpid && since[args[0]->pr_lwpid]/
{
	@time[args[1]->pr_pid] = llquantize(timestamp - since[args[0]->pr_lwpid], 10, 3, 11, 10);
	since[args[0]->pr_lwpid] = 0;
}

/* Each second, as dtrace itself reads its buffers with bpf(2): on Linux a tick probe does not fire while its CPU idles. */
syscall::bpf:entry,
dtrace:::END
/probename == "END" || (pid == $pid && timestamp >= due)/
{
	printa("\036zonescope\037dist\037offcpu\037ns\037#%d\037%@d\037.\n", @time);
	trunc(@time);
	printf("\036zonescope\037end\037.\n");
	due = timestamp + 950000000;
}
