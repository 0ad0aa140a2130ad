/*
 * syscall.d - latency of system calls, by zone and call
 *
 *     dtrace -qs syscall.d
 *
 * Probes: syscall:::entry, syscall:::return: every system call of the host.
 * Cost:   two probes a call, about 1 us together. OFF BY DEFAULT for that reason: a busy host makes a million calls a
 *         second, and this program would take a whole CPU for them, spread over all.
 * Keys:   a distribution for each zone and call that it makes: some 60 a zone.
 * Source: syscall provider, Dynamic Tracing Guide.
 *
 * A thread that is inside a call as tracing begins has no start and is not counted. Calls that wait for somebody else by
 * their nature (poll, accept, nanosleep) are counted as what they are: look at the call before you blame the kernel.
 */
#pragma D option strsize=64
#pragma D option dynvarsize=4m
#pragma D option aggsize=4m

syscall:::entry
{
	self->start = timestamp;
}

syscall:::return
/self->start/
{
	@latency[zonename, probefunc] = llquantize(timestamp - self->start, 10, 2, 11, 10);
	self->start = 0;
}

profile:::tick-1s,
dtrace:::END
{
	printa("\036zonescope\037dist\037syscall_latency\037ns\037%s\037call=%s\037%@d\037.\n", @latency);
	trunc(@latency);
	printf("\036zonescope\037end\037.\n");
}
