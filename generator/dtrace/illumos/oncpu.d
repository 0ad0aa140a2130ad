/*
 * oncpu.d - who is on the CPUs, by zone, core, process and thread
 *
 *     dtrace -qs oncpu.d 97
 *
 * Probes: profile-$1, on every CPU $1 times a second (97 by default, 997 at most); tick-$1 on one CPU.
 * Cost:   about 2 us a sample: 0.02 % of each CPU at 97 Hz, 0.2 % at 997 Hz, whatever the load is.
 * Keys:   a thread on a core each second: $1 x CPUs at the very most, in practice the threads that run.
 * Source: profile provider, Dynamic Tracing Guide; cpu_idle_thread in uts/common/sys/cpuvar.h.
 *
 * An idle CPU runs its idle thread, which belongs to sched in the global zone: left out here. An interrupt runs on an
 * interrupt thread and shows as sched, pid 0, of the global zone. 97 and 997 are primes, so that sampling does not run
 * in step with the clock.
 */
#pragma D option strsize=64
#pragma D option aggsize=4m

profile:::profile-$1
/curthread != curthread->t_cpu->cpu_idle_thread/
{
	@samples[zonename, cpu, pid, tid, execname] = count();
}

/* What one CPU could have counted: the samples of a core that never idles. */
profile:::tick-$1
{
	@ticks = count();
}

profile:::tick-1s,
dtrace:::END
{
	printa("\036zonescope\037oncpu\037%@d\037%s\037%d\037%d\037%d\037%s\037.\n", @samples);
	printa("\036zonescope\037ticks\037%@d\037.\n", @ticks);
	trunc(@samples);
	trunc(@ticks);
	printf("\036zonescope\037end\037.\n");
}
