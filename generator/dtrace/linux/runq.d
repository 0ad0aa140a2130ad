/*
 * runq.d - how long woken threads wait for a CPU, by process
 *
 *     dtrace -qs runq.d
 *
 * Probes: sched:::wakeup, sched:::off-cpu.
 * Cost:   two probes a context switch, about 2 us together: 2 % of a CPU at 10,000 switches a second. OFF BY DEFAULT for
 *         that reason: pressure stall information (PSI) has the sum for nothing.
 * Keys:   a distribution a process that was switched to: some 100.
 * Source: DTrace for Linux 2.0, sched provider. off-cpu fires in the thread that leaves; args[0] and args[1] are the one
 *         that comes. sched:::on-cpu and sched:::enqueue are there, but do not fire on kernels without their functions.
 *
 * From its wake-up to the switch to it. A preempted thread that waits again is not counted: nobody wakes it.
 */
#pragma D option dynvarsize=4m

sched:::wakeup
{
	woken[args[0]->pr_lwpid] = timestamp;
}

sched:::off-cpu
/args[0]->pr_lwpid && woken[args[0]->pr_lwpid]/
{
	@wait[args[1]->pr_pid] = llquantize(timestamp - woken[args[0]->pr_lwpid], 10, 3, 10, 10);
	woken[args[0]->pr_lwpid] = 0;
}

/* Each second, as dtrace itself reads its buffers with bpf(2): on Linux a tick probe does not fire while its CPU idles. */
syscall::bpf:entry,
dtrace:::END
/probename == "END" || (pid == $pid && timestamp >= due)/
{
	printa("\036zonescope\037dist\037runq_wait\037ns\037#%d\037%@d\037.\n", @wait);
	trunc(@wait);
	printf("\036zonescope\037end\037.\n");
	due = timestamp + 950000000;
}
