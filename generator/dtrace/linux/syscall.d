/*
 * syscall.d - latency of the system calls that read and write, by process and call
 *
 *     dtrace -qs syscall.d
 *
 * Probes: syscall:: read, write, pread64, pwrite64, readv, writev, fsync, fdatasync, openat, entry and return.
 * Cost:   two probes a call, about 2 us together: 2 % of a CPU at 10,000 calls a second. OFF BY DEFAULT for that reason.
 * Keys:   a distribution for each process and call: some 300.
 * Source: DTrace for Linux 2.0, syscall provider. Calls are named one by one: to enable all of them (syscall:::entry)
 *         takes 40 s on Linux.
 *
 * A thread that is inside a call as tracing begins has no start and is not counted. A read of a socket or a pipe lasts as
 * long as the writer wishes.
 */
#pragma D option strsize=64
#pragma D option dynvarsize=4m
#pragma D option aggsize=4m

syscall::read:entry, syscall::write:entry, syscall::pread64:entry, syscall::pwrite64:entry, syscall::readv:entry,
syscall::writev:entry, syscall::fsync:entry, syscall::fdatasync:entry, syscall::openat:entry
{
	self->start = timestamp;
}

syscall::read:return, syscall::write:return, syscall::pread64:return, syscall::pwrite64:return, syscall::readv:return,
syscall::writev:return, syscall::fsync:return, syscall::fdatasync:return, syscall::openat:return
/self->start/
{
	@latency[pid, probefunc] = llquantize(timestamp - self->start, 10, 2, 11, 10);
	self->start = 0;
}

/* Each second, as dtrace itself reads its buffers with bpf(2): on Linux a tick probe does not fire while its CPU idles. */
syscall::bpf:entry,
dtrace:::END
/probename == "END" || (pid == $pid && timestamp >= due)/
{
	printa("\036zonescope\037dist\037syscall_latency\037ns\037#%d\037call=%s\037%@d\037.\n", @latency);
	trunc(@latency);
	printf("\036zonescope\037end\037.\n");
	due = timestamp + 950000000;
}
