/*
 * disk.d - latency, operations and bytes of block devices
 *
 *     dtrace -qs disk.d
 *
 * Probes: io:::start, io:::done.
 * Cost:   two probes an I/O, about 2 us together: 2 % of a CPU at 10,000 I/Os a second.
 * Keys:   two distributions and two events a device.
 * Source: io provider, Dynamic Tracing Guide; bufinfo_t and devinfo_t in lib/libdtrace/common/io.d.in. arg0 is the
 *         buf_t, the same in start and done.
 *
 * On `global`: ZFS issues most I/O from its own threads, long after the write that caused it, so that the zone of the
 * current thread says nothing here. zfs.d and vfs.d tell what a zone waits for. NFS is a device of its own here (nfs1).
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

io:::done
/args[0]->b_flags & B_ERROR/
{
	@errors[args[1]->dev_statname] = count();
}

profile:::tick-1s,
dtrace:::END
{
	printa("\036zonescope\037dist\037disk_latency\037ns\037global\037device=%s\037op=%s\037%@d\037.\n", @latency);
	printa("\036zonescope\037event\037disk_%s\037%@d\037%@d\037global\037%s\037.\n", @count, @bytes);
	printa("\036zonescope\037event\037disk_error\037%@d\037\037global\037%s\037.\n", @errors);
	trunc(@latency);
	trunc(@count);
	trunc(@bytes);
	trunc(@errors);
	printf("\036zonescope\037end\037.\n");
}
