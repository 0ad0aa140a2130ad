/*
 * offcpu.d - how long threads of a zone are off the CPU, and whether they slept or were preempted
 *
 *     dtrace -qs offcpu.d
 *
 * Probes: sched:::off-cpu and sched:::on-cpu.
 * Cost:   two probes a context switch, about 1 us together: 1 % of a CPU at 10,000 switches a second.
 * Keys:   two distributions a zone.
 * Source: sched provider, Dynamic Tracing Guide: off-cpu fires in the thread that leaves, on-cpu in the one that comes;
 *         lwpsinfo_t pr_state in lib/libdtrace/common/procfs.d.in: SSLEEP, SRUN.
 *
 * Counted when the thread comes back, so that a sleep of an hour shows in its last second. A thread that was off the CPU
 * as tracing began has no start and is not counted.
 */
#pragma D option strsize=64
#pragma D option dynvarsize=4m

sched:::off-cpu
/curthread != curthread->t_cpu->cpu_idle_thread/
{
	self->since = timestamp;
	self->slept = curlwpsinfo->pr_state == SSLEEP;
}

sched:::on-cpu
/self->since/
{
	@time[zonename, self->slept ? "slept" : "preempted"] = llquantize(timestamp - self->since, 10, 3, 11, 10);
	self->since = 0;
	self->slept = 0;
}

profile:::tick-1s,
dtrace:::END
{
	printa("\036zonescope\037dist\037offcpu\037ns\037%s\037why=%s\037%@d\037.\n", @time);
	trunc(@time);
	printf("\036zonescope\037end\037.\n");
}
