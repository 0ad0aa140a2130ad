/*
 * runq.d - how long the run queues are, by core, and how long threads of a zone wait in them
 *
 *     dtrace -qs runq.d 97
 *
 * Probes: profile-$1 on every CPU; sched:::enqueue and sched:::on-cpu.
 * Cost:   two probes a context switch, about 1 us together: 1 % of a CPU at 10,000 switches a second. The dynamic
 *         variables take 4 MB of kernel memory.
 * Keys:   a distribution a core, and one a zone.
 * Source: sched provider, Dynamic Tracing Guide; sdt_subr.c: arg0 of enqueue is the kthread_t that is put on a queue;
 *         disp_nrunnable in uts/common/sys/disp.h; on-cpu fires in swtch() (disp.c) once the thread has been resumed.
 *
 * The kstat nsec_waitrq has the sum of the waiting; here is its distribution: many short waits are a busy host, few long
 * ones are a starving thread.
 */
#pragma D option strsize=64
#pragma D option dynvarsize=4m
#pragma D option cleanrate=50hz

profile:::profile-$1
{
	@length[cpu] = lquantize(curthread->t_cpu->cpu_disp->disp_nrunnable, 0, 64, 1);
}

sched:::enqueue
{
	queued[(uint64_t)arg0] = timestamp;
}

sched:::on-cpu
/queued[(uint64_t)curthread]/
{
	@wait[zonename] = llquantize(timestamp - queued[(uint64_t)curthread], 10, 3, 10, 10);
	queued[(uint64_t)curthread] = 0;
}

profile:::tick-1s,
dtrace:::END
{
	printa("\036zonescope\037dist\037runq_length\037threads\037global\037core=%d\037%@d\037.\n", @length);
	printa("\036zonescope\037dist\037runq_wait\037ns\037%s\037%@d\037.\n", @wait);
	trunc(@length);
	trunc(@wait);
	printf("\036zonescope\037end\037.\n");
}
