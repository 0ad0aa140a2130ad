/*
 * disk.d - latency, operations and bytes of block devices
 *
 *     dtrace -qs disk.d
 *
 * Probes: io:::start, io:::done.
 * Cost:   two probes an I/O, about 4 us together: 4 % of a CPU at 10,000 I/Os a second.
 * Keys:   two distributions and two events a device.
 * Source: DTrace for Linux 2.0, io provider; bufinfo_t and devinfo_t in its io.d. arg0 is the bio or request.
 *
 * On `global`: most I/O is issued by kernel threads, long after the write that caused it.
 */
#pragma D option strsize=64
#pragma D option dynvarsize=2m

io:::start
{
	start[arg0] = timestamp;
}

io:::done
/start[arg0]/
{
	this->op = args[0]->b_flags & B_READ ? "read" : "write";
	@latency[args[1]->dev_statname, this->op] = llquantize(timestamp - start[arg0], 10, 3, 10, 10);
	@count[this->op, args[1]->dev_statname] = count();
	@bytes[this->op, args[1]->dev_statname] = sum(args[0]->b_bcount);
	start[arg0] = 0;
}

/* Each second, as dtrace itself reads its buffers with bpf(2): on Linux a tick probe does not fire while its CPU idles. */
syscall::bpf:entry,
dtrace:::END
/probename == "END" || (pid == $pid && timestamp >= due)/
{
	printa("\036zonescope\037dist\037disk_latency\037ns\037global\037device=%s\037op=%s\037%@d\037.\n", @latency);
	printa("\036zonescope\037event\037disk_%s\037%@d\037%@d\037global\037%s\037.\n", @count, @bytes);
	trunc(@latency);
	trunc(@count);
	trunc(@bytes);
	printf("\036zonescope\037end\037.\n");
	due = timestamp + 950000000;
}
